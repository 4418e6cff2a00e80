import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { siblingModule } from '../core/process.js';
import { random } from '../core/random.js';
import { claim } from './lease.js';
import { loadSweep } from './load-sweep.js';
import { parseFailurePolicy, runLocally } from './local.js';
import { collectRecords, planSweep } from './plan.js';
import { compactIndices, secondsBefore } from './slurm.js';
import { type Sweep, configurations, trials } from './sweep.js';
import { outOfTime } from './worker.js';

const folder = mkdtempSync(join(tmpdir(), 'dreamllm-sweep-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Writes a sweep whose trainings and measurements leave a line each in a log, so that runs can be counted. */
function sweepFile(name: string, { count = 5, seeds = 2, milliseconds = 1, failing = '' } = {}): { file: string; out: string; log: string } {
  const log = join(folder, `${name}.log`);
  const file = join(folder, `${name}.mjs`);
  writeFileSync(log, '');
  writeFileSync(
    file,
    `import { appendFileSync } from 'node:fs';
     const pause = () => new Promise((resolve) => setTimeout(resolve, ${milliseconds}));
     export default {
       name: '${name}', question: 'How often does a trial run?', base: { width: 0 },
       grid: { width: ${JSON.stringify(Array.from({ length: count }, (_, i) => i))} }, seeds: ${JSON.stringify(Array.from({ length: seeds }, (_, i) => i))},
       async train(config, seed) {
         await pause();
         ${failing}
         appendFileSync(${JSON.stringify(log)}, 'train ' + config.width + ' ' + seed + '\\n');
       },
       measurements: { score: { async run(config, seed) { await pause(); return config.width * 10 + seed; } } },
     };`,
  );
  return { file, out: join(folder, `${name}-out`), log };
}

const run = (files: { file: string; out: string }, workers = 2, policy = parseFailurePolicy('continue'), previousFailures = 0) =>
  runLocally({ ...files, workers, policy, previousFailures, ttl: 2000, signal: new AbortController().signal });

const lines = (path: string) => readFileSync(path, 'utf8').split('\n').filter(Boolean);

describe('a sweep', () => {
  const base: Sweep = { name: 's', question: '?', base: { a: 1, b: 2 }, seeds: [0], train: async () => {}, measurements: {} };

  test('is every combination of its grid, or each change of its list', () => {
    assert.deepEqual(configurations({ ...base, grid: { a: [1, 2], b: [3, 4] } }), [
      { a: 1, b: 3 },
      { a: 1, b: 4 },
      { a: 2, b: 3 },
      { a: 2, b: 4 },
    ]);
    assert.deepEqual(configurations({ ...base, list: [{ a: 5 }, {}] }), [{ a: 5, b: 2 }, { a: 1, b: 2 }]);
  });

  test('refuses a repeated seed and a repeated configuration', () => {
    assert.throws(() => trials({ ...base, seeds: [1, 1] }), /seed 1 twice/);
    assert.throws(() => trials({ ...base, list: [{ a: 1 }, {}] }), /twice/);
  });

  test('names a trial by its content, whatever the order of keys', () => {
    const [one] = trials({ ...base, base: { a: 1, b: 2 } });
    const [other] = trials({ ...base, base: { b: 2, a: 1 } });
    assert.equal(one.hash, other.hash);
    assert.notEqual(one.hash, trials({ ...base, base: { a: 1, b: 3 } })[0].hash);
  });

  test('keeps its training when only a measurement changes', () => {
    const [before] = trials({ ...base, measurements: { m: { run: async () => 1 } } });
    const [changed] = trials({ ...base, measurements: { m: { run: async () => 2 } } });
    assert.equal(before.hash, changed.hash);
    assert.notEqual(before.measurements.m, changed.measurements.m);
  });
});

describe('running a sweep', () => {
  test('with eight workers on 200 trials runs each exactly once, and a second time nothing', async () => {
    const files = sweepFile('many', { count: 100, seeds: 2 });
    assert.equal(await run(files, 8), true);
    assert.equal(lines(files.log).length, 200);
    assert.equal(new Set(lines(files.log)).size, 200);
    const sweep = await loadSweep(files.file);
    assert.equal(collectRecords(sweep, files.out).length, 200);
    assert.equal(planSweep(sweep, files.out, 8).finished.length, 200);
    // Finished trials say how long the rest will take.
    const more = planSweep({ ...sweep, seeds: [0, 1, 2], secondsPerTrial: 1e6 }, files.out, 2);
    assert.equal(more.toTrain.length, 100);
    assert.ok(more.seconds! > 0 && more.seconds! < 1000, `${more.seconds} s from finished trials`);
  });

  test('that is killed twenty times at random moments ends with each trial exactly once', async () => {
    const files = sweepFile('killed', { count: 20, seeds: 2, milliseconds: 20 });
    const stream = random(7, 'kills');
    for (let kill = 0; kill < 20; kill++) {
      const order = { ...files, worker: `w${kill}`, attempts: 1, stopOnFailure: false, ttl: 200 };
      const child = fork(siblingModule(import.meta.url, './worker-process'), [JSON.stringify(order)], { stdio: 'ignore' });
      await killAfter(child, 150 + stream.integer(400));
    }
    assert.equal(await run(files), true);
    const sweep = await loadSweep(files.file);
    const records = collectRecords(sweep, files.out);
    assert.equal(records.length, 40);
    assert.equal(new Set(records.map(({ trial }) => trial)).size, 40);
    for (const { config, seed, result } of records) assert.equal(result, (config.width as number) * 10 + seed);
  });

  test('ends when its time is up, with a status of its own and no failure, and goes on later', async () => {
    const file = join(folder, 'timed.mjs');
    writeFileSync(
      file,
      `import { existsSync, readFileSync, writeFileSync } from 'node:fs';
       import { join } from 'node:path';
       export default {
         name: 'timed', question: 'How far does it get?', base: {}, seeds: [0],
         async train(config, seed, { folder, signal }) {
           const path = join(folder, 'steps');
           for (let step = existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0; step < 40; step++) {
             signal.throwIfAborted();
             await new Promise((resolve) => setTimeout(resolve, 100));
             writeFileSync(path, String(step + 1));
           }
         },
         measurements: { score: { run: async () => 1 } },
       };`,
    );
    const out = join(folder, 'timed-out');
    const order = { file, out, worker: 'w', attempts: 1, stopOnFailure: false, ttl: 2000, seconds: 2 };
    const child = fork(siblingModule(import.meta.url, './worker-process'), [JSON.stringify(order)], { stdio: 'ignore' });
    const status = await new Promise((resolve) => child.on('exit', resolve));
    assert.equal(status, outOfTime);
    const sweep = await loadSweep(file);
    assert.deepEqual([planSweep(sweep, out, 1).finished.length, planSweep(sweep, out, 1).failed.length], [0, 0]);
    assert.equal(await run({ file, out }, 1), true);
    assert.equal(collectRecords(sweep, out).length, 1);
    assert.deepEqual([secondsBefore(1), secondsBefore(60)], [40, 3540]);
  });

  test('begins in different places with several workers, and comes round to what is left', async () => {
    const files = sweepFile('spread', { count: 4, seeds: 2, milliseconds: 50 });
    const order = { ...files, worker: 'w', attempts: 1, stopOnFailure: false, ttl: 2000, from: 0.5 };
    const child = fork(siblingModule(import.meta.url, './worker-process'), [JSON.stringify(order)], { stdio: 'ignore' });
    await new Promise((resolve) => child.on('exit', resolve));
    assert.deepEqual(lines(files.log), [1, 0].flatMap((seed) => [0, 1, 2, 3].map((width) => `train ${width} ${seed}`)));
  });

  test('goes on after a failure, keeps its error, and tries it again when asked', async () => {
    const marker = JSON.stringify(join(folder, 'failed-once'));
    const failing = `const { existsSync, writeFileSync } = await import('node:fs');
      if (config.width === 1 && !existsSync(${marker})) { writeFileSync(${marker}, ''); throw new Error('lost a disk'); }`;
    const files = sweepFile('failing', { count: 3, seeds: 1, failing });
    const errors: string[] = [];
    const options = { ...files, workers: 1, previousFailures: 0, ttl: 2000, signal: new AbortController().signal };
    assert.equal(await runLocally({ ...options, policy: parseFailurePolicy('continue'), onFailed: (_, { error }) => errors.push(error) }), false);
    assert.match(errors[0], /lost a disk/);
    const sweep = await loadSweep(files.file);
    assert.equal(collectRecords(sweep, files.out).length, 2);
    assert.equal(planSweep(sweep, files.out, 1).failed.length, 1);
    assert.equal(await run(files, 1, parseFailurePolicy('continue'), 1), true);
    assert.equal(collectRecords(sweep, files.out).length, 3);
  });

  test('reads failure policies and refuses others', () => {
    assert.deepEqual(parseFailurePolicy('retry:3'), { kind: 'retry', times: 3 });
    assert.throws(() => parseFailurePolicy('retry:0'), /continue, stop or retry:N/);
  });
});

describe('a lease', () => {
  test('rejects the late result of a stalled worker', () => {
    const work = join(folder, 'stalled');
    const stalled = claim(work, 'slow', 1000)!;
    assert.equal(claim(work, 'other', 1000), undefined);
    utimesSync(join(work, 'lease.1'), new Date(0), new Date(0));
    const next = claim(work, 'other', 1000)!;
    assert.equal(next.token, 2);
    assert.equal(stalled.commit({ from: 'slow' }), false);
    assert.equal(existsSync(join(work, 'result.json')), false);
    assert.equal(next.commit({ from: 'other' }), true);
    assert.deepEqual(JSON.parse(readFileSync(join(work, 'result.json'), 'utf8')), { from: 'other' });
    assert.equal(claim(work, 'third', 0), undefined);
  });
});

test('array indices are written as ranges', () => assert.equal(compactIndices([0, 1, 2, 5, 7, 8]), '0-2,5,7-8'));

async function killAfter(child: ChildProcess, milliseconds: number) {
  const ended = new Promise((resolve) => child.on('exit', resolve));
  setTimeout(() => child.kill('SIGKILL'), milliseconds);
  await ended;
}
