import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { checkpointSteps, latestCheckpoint, readCheckpoint, readEvents, RunFolder } from './run-folder.js';

const temporary = () => join(mkdtempSync(join(tmpdir(), 'run-folder-')), 'run');
const save = (run: RunFolder, step: number) =>
  run.saveCheckpoint(String(step), { step }, (folder) => writeFileSync(join(folder, 'model.bin'), new Uint8Array([step, 2, 3])));

describe('a run folder', () => {
  test('gives back the events and checkpoints written to it', () => {
    const path = temporary();
    const run = RunFolder.create(path, { settings: { steps: 3 } });
    run.append({ type: 'step', step: 0, loss: 1.5 });
    save(run, 1);
    run.close();
    assert.deepEqual(readEvents(path).map(({ time: _, ...event }) => event), [{ type: 'step', step: 0, loss: 1.5 }]);
    const { state, folder } = readCheckpoint(join(path, 'checkpoints', '1'));
    assert.deepEqual(state, { step: 1 });
    assert.deepEqual([...readFileSync(join(folder, 'model.bin'))], [1, 2, 3]);
  });

  test('drops a line that a crash cut off, and goes on after it', () => {
    const path = temporary();
    const settings = { steps: 3 };
    const run = RunFolder.create(path, { settings });
    run.append({ type: 'step', step: 0 });
    run.close();
    appendFileSync(join(path, 'events.jsonl'), '{"type":"step","st');
    assert.equal(readEvents(path).length, 1);
    const again = RunFolder.resume(path, settings);
    again.append({ type: 'step', step: 1 });
    again.close();
    assert.deepEqual(readEvents(path).map(({ step }) => step), [0, 1]);
  });

  test('counts steps that were taken again once', () => {
    const path = temporary();
    const run = RunFolder.create(path, { settings: {} });
    for (const step of [0, 1, 2]) run.append({ type: 'step', step, loss: 1 });
    run.append({ type: 'resume', step: 1 });
    for (const step of [1, 2, 3]) run.append({ type: 'step', step, loss: 2 });
    run.close();
    assert.deepEqual(readEvents(path).filter(({ type }) => type === 'step').map(({ step, loss }) => [step, loss]), [[0, 1], [1, 2], [2, 2], [3, 2]]);
  });

  test('says which checkpoint is torn and uses the one before it', () => {
    const path = temporary();
    const run = RunFolder.create(path, { settings: {} });
    for (const step of [1, 2, 3]) save(run, step);
    truncateSync(join(path, 'checkpoints', '3', 'model.bin'), 1);
    rmSync(join(path, 'checkpoints', '2', 'SHA256SUMS'));
    const messages: string[] = [];
    assert.equal(latestCheckpoint(path, (message) => messages.push(message))?.name, '1');
    run.close();
    assert.match(messages[0], /checkpoints\/3 is damaged: model\.bin has 1 bytes/);
    assert.match(messages[1], /checkpoints\/2 is damaged: SHA256SUMS is missing/);
  });

  test('notices a single changed bit', () => {
    const path = temporary();
    const run = RunFolder.create(path, { settings: {} });
    save(run, 1);
    run.close();
    writeFileSync(join(path, 'checkpoints', '1', 'model.bin'), new Uint8Array([1, 2, 2]));
    assert.throws(() => readCheckpoint(join(path, 'checkpoints', '1')), /damaged: model\.bin has 3 bytes with sha256/);
  });

  test('keeps the newest checkpoints and the best one', () => {
    const path = temporary();
    const run = RunFolder.create(path, { settings: {} });
    for (const step of [1, 2, 3, 4, 10]) save(run, step);
    run.prune(2, 1);
    run.close();
    assert.deepEqual(checkpointSteps(path), [1, 4, 10]);
  });

  test('has one writer, and takes over from one that died', () => {
    const path = temporary();
    const run = RunFolder.create(path, { settings: {} });
    assert.throws(() => RunFolder.resume(path, {}), new RegExp(`held by process ${process.pid} on`));
    run.close();
    // A process that started at another time under the same id is another process.
    writeFileSync(join(path, 'lock'), JSON.stringify({ pid: process.pid, host: hostname(), startTicks: '1' }));
    RunFolder.resume(path, {}).close();
    assert.ok(!readdirSync(path).some((name) => name.startsWith('lock')));
  });

  test('refuses to start over a run, and to resume it with other settings', () => {
    const path = temporary();
    RunFolder.create(path, { settings: { steps: 3, data: { seed: 1 } } }).close();
    assert.throws(() => RunFolder.create(path, { settings: {} }), /already holds a run\. Continue it with --resume/);
    assert.throws(() => RunFolder.resume(path, { steps: 3, data: { seed: 2 } }), /data\.seed: 1 there, 2 now/);
    assert.throws(() => RunFolder.resume(temporary(), {}), /holds no run to resume/);
  });

  test('leaves nothing half-written when a checkpoint cannot be saved', () => {
    const path = temporary();
    const run = RunFolder.create(path, { settings: {} });
    save(run, 1);
    assert.throws(() => run.saveCheckpoint('2', {}, (folder) => writeFileSync(join(folder, 'no/such/folder'), 'x')));
    run.close();
    assert.deepEqual(readdirSync(join(path, 'checkpoints')), ['1']);
    assert.match(readFileSync(join(path, 'config.json'), 'utf8'), /settings/);
  });
});
