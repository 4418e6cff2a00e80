import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { laneCount, Lanes, type TaskProgress } from './lanes.js';
import { StepRunner, type JobProgress } from './steps.js';

const lanes = (count: number, signal = new AbortController().signal) => new Lanes('./lanes.process', { offset: 1 }, signal, 4, count);

describe('lanes', () => {
  test('give tasks their context and arguments, and their values back', async () => {
    const two = lanes(2);
    assert.deepEqual(await Promise.all([1, 2, 3].map((x) => two.run<number>('double', { x }, { priority: 0 }))), [3, 5, 7]);
    assert.equal(two.threads, 2, 'four threads in two lanes');
    assert.ok(two.memoryMiB > 50);
  });

  test('run as many tasks at once as there are, the most pressing first', async () => {
    const one = lanes(1);
    const reports: TaskProgress[] = [];
    const spans = await Promise.all([2, 1, 0].map((priority) => one.run<{ from: number; to: number }>('span', { ms: 30 }, { priority, onProgress: (each) => reports.push(each) })));
    // The first began at once; the last asked for was more pressing than the second.
    const [first, second, third] = spans;
    assert.ok(first.to <= third.from && third.to <= second.from);
    assert.deepEqual(reports[0], { label: 'span', done: 1, total: 2 });
    const both = lanes(2);
    const [a, b] = await Promise.all([0, 0].map(() => both.run<{ from: number; to: number }>('span', { ms: 1500 }, { priority: 0 })));
    assert.ok(a.from < b.to && b.from < a.to, 'at the same time');
  });

  test('pass on what went wrong', async () => {
    await assert.rejects(lanes(1).run('fail', {}, { priority: 0 }), /^Error: This task fails\.$/);
    await assert.rejects(lanes(1).run('die', {}, { priority: 0 }), /"die" ended by SIGKILL before it had a result\. Run the job again/);
  });

  test('end their tasks when the job is told to stop', async () => {
    const controller = new AbortController();
    const waiting = lanes(1, controller.signal).run('wait', {}, { priority: 0, onProgress() {} });
    setTimeout(() => controller.abort(new Error('Interrupted.')), 500);
    await assert.rejects(waiting, /Interrupted|Told to stop/);
  });

  test('are as many as processor and memory carry', () => {
    assert.equal(laneCount({ cores: 2, memory: 20 * 2 ** 30 }), 2);
    assert.equal(laneCount({ cores: 64, memory: 200 * 2 ** 30 }), 4);
    assert.equal(laneCount({ cores: 2, memory: 2 * 2 ** 30 }), 1);
    assert.equal(laneCount({ cores: 2, memory: 0.5 * 2 ** 30 }), 1);
  });
});

describe('steps of a job', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dreamllm-steps-'));
  after(() => rmSync(folder, { recursive: true }));
  const plan = [{ name: 'a', title: 'Do A', seconds: 3 }, { name: 'b', title: 'Do B', seconds: 1 }];

  test('are done once for each identity', async () => {
    const lines: string[] = [];
    let runs = 0;
    const job = () => new StepRunner(folder, plan, (line) => lines.push(line));
    const run = (runner: StepRunner, identity: number) => runner.run('a', { identity }, async () => ({ value: ++runs }));
    assert.deepEqual(await run(job(), 1), { value: 1 });
    assert.deepEqual(await run(job(), 1), { value: 1 }, 'read, not run');
    assert.deepEqual(await run(job(), 2), { value: 2 });
    assert.match(lines[0], /^\[1\/2\] Do A: took \d+s, about \d+s left$/);
    assert.match(lines[1], /^\[1\/2\] Do A: done before, in \d+s$/);
    await assert.rejects(job().run('c', {}, async () => 0), /Step "c" is not in the plan/);
  });

  test('are timed from when they begin, not from when they are asked for', async () => {
    const runner = new StepRunner(join(folder, 'timed'), plan, () => {});
    await runner.run('a', {}, async ({ onBegin }) => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      onBegin();
    });
    assert.ok(runner.times[0].seconds < 0.2, `${runner.times[0].seconds} s`);
  });

  test('add up to the progress of the job, those at work by their own share', async () => {
    const states: JobProgress[] = [];
    const runner = new StepRunner(join(folder, 'progress'), plan, () => {}, (state) => states.push(state));
    await Promise.all([
      runner.run('a', {}, async ({ onProgress }) => onProgress({ label: 'a', done: 1, total: 2 })),
      runner.run('b', {}, async () => 0),
    ]);
    assert.equal(states[0].done, 3 / 8);
    assert.deepEqual(states[0].running, ['a 1/2']);
    assert.equal(states.at(-1)!.done, 1);
    assert.deepEqual(runner.times.map(({ title }) => title), ['Do A', 'Do B']);
  });
});
