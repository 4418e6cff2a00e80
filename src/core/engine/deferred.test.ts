import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import * as tf from '@tensorflow/tfjs';
import { embedding } from '../ops/index.js';
import { random } from '../random.js';
import { addonFolder, loadNative } from './addon.js';
import type { DreamBackend } from './dream-backend.js';
import type { Engine } from './engine.js';
import { useTestEngine } from './test-backends.js';
import { loadWasm } from './wasm.js';

const hasNative = existsSync(join(addonFolder, 'engine.node'));
const loaders: Record<string, (threads: number) => Engine> = { ...(hasNative ? { native: loadNative } : {}), wasm: loadWasm };
const draw = (shape: number[], name: string) => tf.tensor(random(3, name).normals(shape.reduce((a, b) => a * b, 1)), shape);

/** Programs that post products without end, on an engine of their own, and say when they began. */
const caller: Record<string, string> = {
  native: `
    const { parentPort } = require('node:worker_threads');
    const addon = require(${JSON.stringify(join(addonFolder, 'engine.node'))});
    addon.setThreads(2);
    const gemm = addon.names.trim().split(' ').indexOf('gemm');
    const n = 300, [a, b] = [1, 2].map(() => new Float32Array(addon.reserve(4 * n * n)));
    const numbers = new Float64Array([1, 0, 0, 0, n, n, n, n, n, n, 0, 0, 0]);
    for (let i = 0; i < 500; i++) addon.post(gemm, 13, numbers, a, a, b, null, null);
    parentPort.postMessage('posted');
    for (;;) addon.post(gemm, 13, numbers, a, a, b, null, null);`,
  wasm: `
    const { parentPort } = require('node:worker_threads');
    import('tsx/esm/api').then(({ tsImport }) => tsImport('./wasm.ts', ${JSON.stringify(import.meta.url)})).then(({ loadWasm }) => {
      const engine = loadWasm(2);
      const n = 300, [a, b] = [1, 2].map(() => engine.allocate(4 * n * n)).map(({ buffer, offset }) => new Float32Array(buffer, offset, n * n));
      const post = () => engine.post('gemm', [a, a, b, null, null], [1, 0, 0, 0, n, n, n, n, n, n, 0, 0, 0]);
      for (let i = 0; i < 500; i++) post();
      parentPort.postMessage('posted');
      for (;;) post();
    });`,
};

/** A program of random operations on a few matrices, which it makes, changes, reads and disposes of as it goes. Returns all that it read and the rest. */
async function program(seed: number): Promise<number[]> {
  const stream = random(seed, 'program');
  const size = 1 + stream.integer(90);
  const held = Array.from({ length: 6 }, () => tf.tensor2d(stream.normals(size * size), [size, size]));
  const seen: number[] = [];
  const reads: Promise<void>[] = [];
  const any = () => held[stream.integer(held.length)];
  const operations: (() => tf.Tensor)[] = [
    () => any().add(any()).mul(0.5),
    () => tf.matMul(any(), any(), stream.integer(2) === 1, stream.integer(2) === 1).div(size),
    () => tf.softmax(any()),
    () => any().sub(any().mean(1, true)),
    () => tf.concat([any().slice([0, 0], [size, size >> 1]), any().slice([0, size >> 1], [size, size - (size >> 1)])], 1),
    () => any().transpose(),
    () => tf.tensor2d(stream.normals(size * size), [size, size]),
    () => tf.fill([size, size], stream.uniform()),
    () => any().cumsum(0).clipByValue(-1, 1), // a kernel of the plain cpu backend, which reads and writes here
    () => tf.gather(any(), tf.tensor1d(Array.from({ length: size }, () => stream.integer(size)), 'int32')),
    () => tf.gather(any(), any().argMax<tf.Tensor1D>(1)), // ids that a kernel makes
  ];
  for (let i = 0; i < 300; i++) {
    const made = tf.tidy(operations[stream.integer(operations.length)]) as tf.Tensor2D;
    const at = stream.integer(held.length);
    const old = held[at];
    held[at] = made;
    const use = stream.integer(60);
    if (use === 0) reads.push(old.data().then((values) => void seen.push(i, ...values)));
    if (use === 1) seen.push(...old.dataSync());
    old.dispose();
    if (use === 2) await Promise.all(reads.splice(0));
  }
  await Promise.all(reads);
  for (const matrix of held) seen.push(...matrix.dataSync());
  tf.dispose(held);
  return seen.sort((a, b) => a - b);
}

for (const [name, load] of Object.entries(loaders)) {
  const use = (threads: number) => useTestEngine({ name: `deferred-${name}-${threads}`, load: () => load(threads) });

  describe(`kernels of ${name} that run later`, () => {
    before(() => use(2));
    const backend = () => tf.backend() as DreamBackend;
    /** Something to be behind: about a hundred kernels. */
    const busy = (rounds = 30) => tf.tidy(() => Array.from({ length: rounds }).reduce<tf.Tensor2D>((x) => tf.matMul(x, x).div(400), tf.ones([400, 400])));

    test('give what they give at once, to the last bit, in random programs', async () => {
      assert.ok(backend().engine.isDeferred);
      const found: number[][] = [];
      for (let seed = 0; seed < 12; seed++) found.push(await program(seed));
      await use(1);
      assert.ok(!backend().engine.isDeferred);
      for (let seed = 0; seed < 12; seed++) assert.deepEqual(await program(seed), found[seed], `program ${seed}`);
      await use(2);
    });

    test('find values as they were when given, large ones too', () => {
      for (const count of [3, 100_000, 3_000_000]) {
        const before = busy();
        const given = new Float32Array(count).fill(7);
        const kept = tf.tensor1d(given);
        given.fill(0);
        assert.equal(kept.min().dataSync()[0], 7);
        tf.dispose([before, kept]);
      }
    });

    test('are waited for without holding up the event loop, and their values outlive their tensor', async () => {
      const slow = busy(300);
      let turns = 0;
      const timer = setInterval(() => turns++, 1);
      const values = slow.data();
      slow.dispose();
      const over = tf.fill([400, 400], -1); // takes the same memory
      const found = await values;
      clearInterval(timer);
      assert.ok(found.every((value) => value > 0.99 && value < 1.01));
      assert.ok(turns > 3, `${turns} turns of the event loop`);
      over.dispose();
    });

    test('that refuse their arguments are named at the next look, keep those behind them from running, and change nothing else', async () => {
      const [logits, labels, one] = [draw([2, 3], 'logits'), tf.tensor1d([1, 9], 'int32'), tf.tensor1d([0, 0])];
      const behind = tf.tensor1d([1, 2, 3]);
      for (const look of [() => behind.dataSync(), () => void backend().finish(), () => backend().engine.finished()]) {
        const before = busy();
        const floats = [logits, one, one, logits].map((tensor) => backend().floats(tensor));
        backend().run('cross_entropy_grad', [floats[0], backend().memoryOf(labels), ...floats.slice(1)], [2, 3]);
        backend().run('fill', [backend().floats(behind)], [3, 5, 0]);
        await assert.rejects(async () => look(), /cross_entropy_grad: an id or label lies outside of its table/);
        assert.deepEqual([...behind.dataSync()], [1, 2, 3]);
        before.dispose();
      }
      tf.dispose([logits, labels, one, behind]);
    });

    test('that look up ids complain at once, whether a kernel made the ids or not', () => {
      const table = draw([5, 4], 'table') as tf.Tensor2D;
      const before = busy();
      assert.throws(() => tf.tidy(() => embedding(table, tf.tensor1d([1, 5], 'int32'))), /ids from 0 to 4, found 5/);
      assert.throws(() => tf.tidy(() => embedding(table, tf.fill([1], 6, 'int32'))), /ids from 0 to 4, found 6/);
      assert.throws(() => tf.tidy(() => embedding(table, tf.concat([tf.tensor1d([1], 'int32'), tf.tensor1d([-1], 'int32')]))), /found -1/);
      tf.dispose([table, before]);
    });

    test('outnumber the queue', () => {
      const x = tf.zeros([8]);
      const sums = tf.tidy(() => Array.from({ length: 5000 }).reduce<tf.Tensor>((sum) => sum.add(1), x));
      assert.deepEqual([...sums.dataSync()], Array(8).fill(5000));
      tf.dispose([x, sums]);
    });

    test('end with the thread that called them, and leave others alone', async () => {
      for (let i = 0; i < 3; i++) {
        const worker = new Worker(caller[name], { eval: true });
        await once(worker, 'message');
        await worker.terminate();
      }
      assert.ok(busy().dataSync()[0] > 0.99);
    });
  });
}
