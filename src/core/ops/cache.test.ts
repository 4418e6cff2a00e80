import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { modelBackends, testEngines, useTestEngine } from '../engine/test-backends.js';
import { pack } from '../packed.js';
import { random } from '../random.js';
import { attention, cacheAppend, decodeLayer, valueAndGrads, type Cached, type DecodeWeights } from './index.js';

const rows = (count: number, ...name: (string | number)[]) => draw([1, count, 6], ...name);
const draw = (shape: [number, number, number], ...name: (string | number)[]) => tf.tensor3d(random(0, ...name).normals(shape[0] * shape[1] * shape[2]), shape);

for (const { name, use } of modelBackends()) {
  describe(`cacheAppend on ${name}`, () => {
    before(use);

    for (const sequences of [1, 3]) test(`holds what was appended for ${sequences} sequences, through every enlargement, and one handle of it`, () => {
      const tensors = tf.memory().numTensors;
      let cache: tf.Tensor3D | undefined;
      const parts: tf.Tensor3D[] = [];
      let length = 0;
      for (const [i, count] of [3, 1, 70, 1, 1, 60, 1].entries()) {
        const part = draw([sequences, count, 6], 'part', i);
        const next = cacheAppend(cache, part, length);
        cache?.dispose();
        cache = next;
        parts.push(part);
        length += count;
        assert.ok(cache.shape[1] >= length);
        const held = tf.tidy(() => cache!.slice([0, 0, 0], [-1, length, -1]).dataSync());
        assert.deepEqual(held, tf.tidy(() => tf.concat(parts, 1).dataSync()));
      }
      tf.dispose([cache!, ...parts]);
      assert.equal(tf.memory().numTensors, tensors);
    });

    test('makes room that attention does not see', () => {
      const [k, v, q] = [draw([2, 5, 6], 'k'), draw([2, 5, 6], 'v'), draw([2, 2, 6], 'q')];
      const [roomyK, roomyV] = [cacheAppend(undefined, k, 0), cacheAppend(undefined, v, 0)];
      const options = { numHeads: 2, causal: true };
      assert.deepEqual(attention(q, roomyK, roomyV, { ...options, keys: 5 }).dataSync(), attention(q, k, v, options).dataSync());
    });
  });
}

/** Weights of a layer of two heads of six that share keys, from width 5 over 7. */
function layer(): DecodeWeights {
  const matrix = (name: string, out: number, inSize: number) => draw([1, out, inSize], name).reshape([out, inSize]) as tf.Tensor;
  const norm = (name: string) => draw([1, 1, 5], name).flatten();
  return {
    norm1: norm('norm1'), q: matrix('q', 12, 5), k: matrix('k', 6, 5), v: matrix('v', 6, 5), o: matrix('o', 5, 12),
    norm2: norm('norm2'), gate: matrix('gate', 7, 5), up: matrix('up', 7, 5), down: matrix('down', 5, 7),
  };
}

/** Three tokens of two sequences, one after the other, with a bias; outputs and the keys held in the end. */
function decodeThree(): Float32Array[] {
  return tf.tidy(() => {
    const weights = layer();
    let held: Cached = { length: 0 };
    const outputs: tf.Tensor[] = [];
    for (let length = 0; length < 3; length++) {
      const angles = draw([2, 1, 6], 'angles', length);
      const bias = draw([2, 1, length + 1], 'bias', length).expandDims(1) as tf.Tensor4D;
      const { y, keys, values } = decodeLayer(draw([2, 1, 5], 'x', length), weights, held, { numHeads: 2, numKvHeads: 1, eps: 1e-5, rope: { cos: angles.cos(), sin: angles.sin() }, bias });
      outputs.push(y);
      held = { keys, values, length: length + 1 };
    }
    return [...outputs, held.keys!.slice([0, 0, 0], [-1, 3, -1])].map((tensor) => tensor.dataSync() as Float32Array);
  });
}

describe('decodeLayer', () => {
  let expected: Float32Array[];
  before(async () => {
    await tf.setBackend('cpu');
    expected = decodeThree();
  });

  for (const engine of testEngines()) {
    test(`gives on ${engine.name} what its composition gives, and leaks nothing`, async () => {
      await useTestEngine(engine);
      const tensors = tf.memory().numTensors;
      const found = decodeThree();
      assert.equal(tf.memory().numTensors, tensors);
      found.forEach((values, i) => values.forEach((value, e) => assert.ok(Math.abs(value - expected[i][e]) < 2e-5 * Math.max(1, Math.abs(expected[i][e])), `result ${i}, element ${e}: ${value}, expected ${expected[i][e]}`)));
    });
  }

  test('takes packed weights, which only the composition does', async () => {
    const engine = testEngines().at(-1)!;
    await useTestEngine(engine);
    tf.tidy(() => {
      const wide = (name: string, out: number, inSize: number) => draw([1, out, inSize], name).reshape([out, inSize]) as tf.Tensor2D;
      const norm = tf.ones([32]);
      const weights = { norm1: norm, norm2: norm, q: wide('q', 32, 32), k: wide('k', 32, 32), v: wide('v', 32, 32), o: wide('o', 32, 32), gate: wide('gate', 32, 32), up: wide('up', 32, 32), down: wide('down', 32, 32) };
      const options = { numHeads: 2, numKvHeads: 2, eps: 1e-5, rope: { cos: tf.ones([1, 1, 16]) as tf.Tensor3D, sin: tf.zeros([1, 1, 16]) as tf.Tensor3D } };
      const x = draw([1, 1, 32], 'x');
      const y = decodeLayer(x, weights, { length: 0 }, options).y.dataSync();
      const packed = decodeLayer(x, { ...weights, q: pack(weights.q, 'int8') }, { length: 0 }, options).y.dataSync();
      packed.forEach((value, i) => assert.ok(Math.abs(value - y[i]) < 0.2 * Math.max(1, Math.abs(y[i]))));
    });
  });

  test('refuses caches and weights that do not fit', () => {
    const options = { numHeads: 2, numKvHeads: 1, eps: 1e-5, rope: { cos: draw([1, 1, 6], 'c'), sin: draw([1, 1, 6], 's') } };
    assert.throws(() => decodeLayer(draw([2, 1, 5], 'x'), layer(), { length: 1 }, options), /decodeLayer: expected x \[batch, 1, dim\], .* caches \[batch, 1 or more, 6\]/);
    assert.throws(() => decodeLayer(draw([2, 2, 5], 'x'), layer(), { length: 0 }, options), /decodeLayer: expected/);
    assert.throws(() => decodeLayer(draw([2, 1, 5], 'x'), { ...layer(), up: tf.zeros([6, 5]) }, { length: 0 }, options), /up \[6, 5\]/);
  });
});

describe('a cache with room', () => {
  before(() => tf.setBackend('cpu'));

  test('is without gradients', () => {
    const [q, k] = [rows(2, 'q'), rows(5, 'k')];
    assert.throws(() => attention(q, k, k, { numHeads: 2, keys: 6 }), /attention: expected/);
    const loss = () => attention(q, k, k, { numHeads: 2, keys: 4 }).sum() as tf.Scalar;
    assert.throws(() => valueAndGrads(loss, new Map([['q', q]])), /a cache with room has no gradient/);
  });

  test('refuses rows that do not fit behind it', () => {
    assert.throws(() => cacheAppend(rows(2, 'cache'), rows(1, 'x'), 3), /cacheAppend: expected x \[batch, tokens, dim\] and a cache \[batch, 3 or more, dim\]/);
    assert.throws(() => cacheAppend(undefined, rows(1, 'x'), 3), /cacheAppend/);
  });
});
