import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { attachRun, startRun } from './runs.js';
import { pause, temporaryFolder, TestKernel } from './testing.js';

describe('an attached run', () => {
  function newRun(events: string): string {
    const folder = join(temporaryFolder(), 'run');
    mkdirSync(folder);
    writeFileSync(join(folder, 'config.json'), '{}');
    writeFileSync(join(folder, 'events.jsonl'), events);
    return folder;
  }

  test('reads on where it was, and waits for lines that are not whole', () => {
    const folder = newRun('{"type":"step","step":0}\n{"type":"step","st');
    const run = attachRun(folder);
    assert.equal(run.events.length, 1);
    appendFileSync(join(folder, 'events.jsonl'), 'ep":1,"note":"Überlauf"}\n');
    assert.deepEqual(run.refresh(), [{ type: 'step', step: 1, note: 'Überlauf' }]);
    assert.equal(run.events.length, 2);
  });

  test('forgets steps that a resumed run took again', () => {
    const run = attachRun(newRun('{"type":"step","step":0}\n{"type":"step","step":1,"loss":9}\n{"type":"resume","step":1}\n{"type":"step","step":1,"loss":2}\n'));
    assert.deepEqual(run.events.filter(({ type }) => type === 'step').map(({ step, loss }) => [step, loss]), [[0, undefined], [1, 2]]);
  });

  test('is stopped when nobody writes it and it has no result', () => {
    const folder = newRun('');
    assert.equal(attachRun(folder).state, 'stopped');
    writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: process.pid }));
    assert.equal(attachRun(folder).state, 'running');
    writeFileSync(join(folder, 'result.json'), '{"fid":8}');
    assert.equal(attachRun(folder).state, 'finished');
    assert.deepEqual(attachRun(folder).result, { fid: 8 });
  });

  test('can be let go while it goes on', async () => {
    const folder = newRun('{"type":"step","step":0}\n');
    writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: process.pid }));
    const run = attachRun(folder);
    setTimeout(() => run.detach(), 100);
    const seen: unknown[] = [];
    for await (const event of run.follow()) seen.push(event.step);
    assert.deepEqual(seen, [0]);
    assert.equal(run.state, 'running');
  });

  test('must exist, and starting one says why it did not start', async () => {
    assert.throws(() => attachRun('/no/such/run'), /holds no run/);
    await assert.rejects(startRun(['no-such-stage']), /needs "--out"/);
    const out = join(temporaryFolder(), 'new');
    await assert.rejects(startRun(['no-such-stage', '--out', out]), /The run did not start: it ended with status \d[^]*no-such-stage/);
    assert.ok(existsSync(join(out, 'process.log')));
  });
});

test('a run outlives the kernel that started it, and is the same when attached again', async () => {
  const kernel = await TestKernel.start();
  const out = join(temporaryFolder(), 'micro');
  const started = await kernel.value(`const run = await startRun(['alignment-comprehension', '--preset', 'micro', '--set', 'steps=30', '--out', ${JSON.stringify(out)}]); run.state`);
  assert.ok(started === 'running' || started === 'finished');
  kernel.client.process.kill('SIGKILL');
  await kernel.close();

  const steps = new Map<unknown, unknown>();
  for await (const { type, step, loss } of attachRun(out).follow()) if (type === 'step') steps.set(step, loss);
  while (attachRun(out).state === 'running') await pause(50); // its last words
  assert.equal(attachRun(out).state, 'finished');
  assert.deepEqual([...steps.keys()], Array.from({ length: 30 }, (_, i) => i));
  assert.deepEqual(attachRun(out).events.filter(({ type }) => type === 'step').map(({ loss }) => loss), [...steps.values()]);
});
