import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { random } from '../random.js';
import { testEngines, useTestEngine } from './test-backends.js';

describe('max pooling on the backend dream', () => {
  const engine = testEngines()[0];
  after(() => tf.setBackend('cpu'));

  test('gives what the stock kernel gives', async () => {
    for (const [size, stride, pad, height, width] of [[3, 2, 'valid', 7, 9], [3, 1, 'same', 5, 4], [2, 2, 'same', 5, 5], [3, 2, 'same', 1, 6]] as const) {
      const values = random(0, 'pool', size, stride, height).normals(2 * height * width * 3);
      values[5] = -Infinity;
      const pooled = async () => {
        const y = tf.tidy(() => tf.maxPool(tf.tensor4d(values, [2, height, width, 3]), size, stride, pad));
        const data = await y.data();
        y.dispose();
        return [y.shape, [...data]];
      };
      await tf.setBackend('cpu');
      const expected = await pooled();
      await useTestEngine(engine);
      assert.deepEqual(await pooled(), expected);
    }
  });
});
