import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { modelBackends } from '../engine/test-backends.js';
import { random } from '../random.js';
import { attention, cacheAppend, valueAndGrads } from './index.js';

const rows = (count: number, ...name: (string | number)[]) => tf.tensor3d(random(0, ...name).normals(count * 6), [1, count, 6]);

for (const { name, use } of modelBackends()) {
  describe(`cacheAppend on ${name}`, () => {
    before(use);

    test('holds what was appended, through every enlargement, and one handle of it', () => {
      const tensors = tf.memory().numTensors;
      let cache: tf.Tensor3D | undefined;
      const parts: tf.Tensor3D[] = [];
      let length = 0;
      for (const [i, count] of [3, 1, 70, 1, 1, 60, 1].entries()) {
        const part = rows(count, 'part', i);
        const next = cacheAppend(cache, part, length);
        cache?.dispose();
        cache = next;
        parts.push(part);
        length += count;
        assert.ok(cache.shape[1] >= length);
        const held = tf.tidy(() => cache!.slice([0, 0, 0], [1, length, -1]).dataSync());
        assert.deepEqual(held, tf.tidy(() => tf.concat(parts, 1).dataSync()));
      }
      tf.dispose([cache!, ...parts]);
      assert.equal(tf.memory().numTensors, tensors);
    });

    test('makes room that attention does not see', () => {
      const [k, v, q] = [rows(5, 'k'), rows(5, 'v'), rows(2, 'q')];
      const [roomyK, roomyV] = [cacheAppend(undefined, k, 0), cacheAppend(undefined, v, 0)];
      const options = { numHeads: 2, causal: true };
      assert.deepEqual(attention(q, roomyK, roomyV, { ...options, keys: 5 }).dataSync(), attention(q, k, v, options).dataSync());
    });
  });
}

describe('a cache with room', () => {
  before(() => tf.setBackend('cpu'));

  test('is for one sequence and without gradients', () => {
    const [q, k] = [rows(2, 'q'), rows(5, 'k')];
    const two = tf.concat([k, k]) as tf.Tensor3D;
    assert.throws(() => attention(tf.concat([q, q]) as tf.Tensor3D, two, two, { numHeads: 2, keys: 4 }), /attention: expected/);
    const loss = () => attention(q, k, k, { numHeads: 2, keys: 4 }).sum() as tf.Scalar;
    assert.throws(() => valueAndGrads(loss, new Map([['q', q]])), /a cache with room has no gradient/);
  });

  test('refuses rows that do not fit behind it', () => {
    assert.throws(() => cacheAppend(rows(2, 'cache'), rows(1, 'x'), 3), /cacheAppend: expected x \[1, tokens, dim\] and a cache \[1, 3 or more, dim\]/);
    assert.throws(() => cacheAppend(undefined, rows(1, 'x'), 3), /cacheAppend/);
  });
});
