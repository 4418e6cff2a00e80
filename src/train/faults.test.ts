import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { useBackend } from '../core/backend.js';
import { covers } from '../core/params.js';
import { siblingModule } from '../core/process.js';
import { readSafetensors } from '../core/safetensors.js';
import { microSettings, trainFourStages } from './four-stages.js';
import { readEvents } from './run-folder.js';
import { nano, stageNames, type StageName } from './stages.js';
import { trainStage } from './train-stage.js';

const temporary = () => mkdtempSync(join(tmpdir(), 'faults-'));
const child = siblingModule(import.meta.url, './faults.process');
const weights = (root: string, name: StageName) => readFileSync(join(root, name, 'checkpoints', 'final', 'model.safetensors'));
const lines = (file: string) => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length : 0);

describe('training', () => {
  const whole = temporary();
  before(async () => {
    await useBackend();
    await trainFourStages(whole);
  });

  test('ends with the same bytes when it is killed in each stage, whatever it was doing', { timeout: 240_000 }, async () => {
    const root = temporary();
    for (const [i, name] of stageNames.entries()) {
      const run = spawn(process.execPath, [...process.execArgv, child, root], { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      run.stderr.on('data', (text: Buffer) => (said += text));
      const ended = new Promise((resolve) => run.once('exit', (_, signal) => resolve(signal)));
      // Kill it once this stage has logged a few lines, somewhere between two of them.
      while (lines(join(root, name, 'events.jsonl')) < 3 + i) {
        assert.equal(run.exitCode, null, said);
        await sleep(2);
      }
      await sleep(Math.random() * 20);
      run.kill('SIGKILL');
      assert.equal(await ended, 'SIGKILL', said);
    }
    await trainFourStages(root);
    for (const name of stageNames) {
      assert.ok(weights(root, name).equals(weights(whole, name)), `${name} ends with other weights`);
      const steps = readEvents(join(root, name)).filter(({ type }) => type === 'step');
      assert.deepEqual(steps.map(({ step, loss }) => [step, loss]), readEvents(join(whole, name)).filter(({ type }) => type === 'step').map(({ step, loss }) => [step, loss]));
    }
    assert.ok(stageNames.some((name) => readEvents(join(root, name)).some(({ type }) => type === 'resume')));
  });

  test('says that the disk is full, leaves nothing half-written, and goes on later', { timeout: 120_000 }, async () => {
    const root = temporary();
    // Files may grow to 4 KiB: the log fits for a while, a checkpoint does not.
    const limited = spawnSync('bash', ['-c', 'ulimit -f 4; exec "$@"', 'bash', process.execPath, ...process.execArgv, child, root], { encoding: 'utf8' });
    assert.equal(limited.status, 1, limited.stderr);
    assert.match(limited.stderr, /could not be written: the file would pass the size limit \(EFBIG\)\. Nothing half-written was left\. Free some space and run again with --resume/);
    const checkpoints = join(root, stageNames[0], 'checkpoints');
    assert.deepEqual(readdirSync(checkpoints).filter((name) => !/^\d+$/.test(name)), []);
    await trainFourStages(root);
    assert.ok(weights(root, 'sft').equals(weights(whole, 'sft')));
  });

  test('moves what the stage trains and nothing else', () => {
    const tensors = (name: StageName) => readSafetensors(join(whole, name, 'checkpoints', 'final', 'model.safetensors')).tensors;
    const moved = (before: StageName, after: StageName) => {
      const [old, now] = [tensors(before), tensors(after)];
      return [...now].filter(([key, { values }]) => !isDeepStrictEqual(values, old.get(key)!.values)).map(([key]) => key);
    };
    const trains = (name: StageName, key: string) => nano[name].trainable.some((prefix) => covers(prefix, key));
    // Both runs of stage I start from the same weights, so they differ in what one of them trained.
    const apart = moved('alignment-comprehension', 'alignment-creation');
    assert.deepEqual(apart.filter((key) => !trains('alignment-comprehension', key) && !trains('alignment-creation', key)), []);
    assert.ok(apart.some((key) => trains('alignment-creation', key)) && apart.some((key) => trains('alignment-comprehension', key)));
    for (const [before, after] of [['alignment-creation', 'i-gpt'], ['i-gpt', 'sft']] as const) {
      const keys = moved(before, after);
      assert.deepEqual(keys.filter((key) => !trains(after, key)), []);
      assert.ok(keys.some((key) => covers('model.layers', key)) && keys.some((key) => covers('lm_head', key)));
    }
  });

  test('refuses parents of another stage, another seed, or none where one is needed', async () => {
    const attempt = (name: StageName, parents: string[], changes: string[] = []) =>
      trainStage({ preset: 'micro', settings: microSettings(name, changes), out: join(temporary(), 'run'), parents, validate: false });
    await assert.rejects(attempt('sft', [join(whole, 'alignment-creation')]), /is a result of alignment-creation, and sft starts from i-gpt/);
    await assert.rejects(attempt('i-gpt', [join(whole, 'alignment-creation')]), /starts from one result of alignment-comprehension; found 0/);
    await assert.rejects(attempt('sft', [join(whole, 'i-gpt')], ['seed=7']), /the parent differs: expected random weights of seed 7/);
    await assert.rejects(attempt('sft', [temporary()]), /is no finished artefact/);
  });
});
