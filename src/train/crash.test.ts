import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { siblingModule } from '../core/process.js';
import { countUp } from './crash.js';
import { checkpointSteps, readCheckpoint, readEvents } from './run-folder.js';

/** Every so many changes of a file the process is killed at; `DREAMLLM_CRASH_STRIDE=1` tries every single one. */
const stride = Number(process.env.DREAMLLM_CRASH_STRIDE ?? 12);

test('a run that is killed at any change of a file, in the middle of a write, ends as if it had not been', { timeout: 600_000 }, () => {
  const root = mkdtempSync(join(tmpdir(), 'crash-'));
  const child = siblingModule(import.meta.url, './crash.process');
  const whole = join(root, 'whole');
  const changes = Number(execFileSync(process.execPath, [...process.execArgv, child, whole], { encoding: 'utf8' }));
  assert.ok(changes > 100, `${changes} changes`);
  const stepsOf = (path: string) => readEvents(path).filter(({ type }) => type === 'step').map(({ step, loss }) => [step, loss]);
  let resumed = 0;
  for (let at = Math.floor(Math.random() * Math.min(stride, changes)); at < changes; at += stride) {
    const path = join(root, String(at));
    assert.equal(spawnSync(process.execPath, [...process.execArgv, child, path, String(at)]).signal, 'SIGKILL');
    countUp(path);
    const where = `killed at change ${at} of ${changes}`;
    assert.equal(readFileSync(join(path, 'result.json'), 'utf8'), readFileSync(join(whole, 'result.json'), 'utf8'), where);
    assert.deepEqual(stepsOf(path), stepsOf(whole), where);
    assert.deepEqual(checkpointSteps(path), checkpointSteps(whole), where);
    readCheckpoint(join(path, 'checkpoints', 'final'));
    const known = /^(config\.json|events\.jsonl|result\.json|checkpoints|events\.out\.tfevents\..*|lock\..*)$/; // the last: a claim that never became the lock
    assert.deepEqual(readdirSync(path).filter((name) => !known.test(name)), [], where);
    if (readEvents(path).some(({ type, step }) => type === 'resume' && step! > 0)) resumed++;
  }
  assert.ok(resumed > 0, 'no run went on from a checkpoint');
});
