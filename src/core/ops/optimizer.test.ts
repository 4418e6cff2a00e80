import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { adamw, clipFactor, globalNorm, registerAdamW, type Moments } from './index.js';

const options = { learningRate: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, step: 1 };
const close = (found: tf.Tensor, expected: number[]) => found.dataSync().forEach((x, i) => assert.ok(Math.abs(x - expected[i]) < 1e-5, `${x} for ${expected[i]}`));
const momentsOf = (p: tf.Variable): Moments => ({ first: tf.variable(tf.zerosLike(p)), second: tf.variable(tf.zerosLike(p)) });

describe('adamw', () => {
  before(() => tf.setBackend('cpu'));

  test('moves each element by the learning rate in its first step, whatever the size of its gradient', () => {
    const p = tf.variable(tf.tensor1d([1, 1, 1]));
    adamw([p], [tf.tensor1d([0.001, -5, 0])], [momentsOf(p)], options);
    close(p, [0.9, 1.1, 1]);
  });

  test('decays weights without their gradient', () => {
    const p = tf.variable(tf.tensor1d([2]));
    adamw([p], [tf.tensor1d([0])], [momentsOf(p)], { ...options, weightDecay: 0.5 });
    close(p, [2 * (1 - 0.1 * 0.5)]);
  });

  test('takes gradients times a scale', () => {
    const [p, q] = [tf.variable(tf.tensor1d([1, 2])), tf.variable(tf.tensor1d([1, 2]))];
    const [moments, others] = [momentsOf(p), momentsOf(q)];
    adamw([p], [tf.tensor1d([0.5, -2])], [moments], { ...options, eps: 1, gradientScale: 0.25 });
    adamw([q], [tf.tensor1d([0.125, -0.5])], [others], { ...options, eps: 1 });
    assert.deepEqual(p.dataSync(), q.dataSync());
    assert.deepEqual(moments.second.dataSync(), others.second.dataSync());
  });

  test('refuses a gradient of another shape', () => {
    const p = tf.variable(tf.zeros([2, 3]));
    assert.throws(() => adamw([p], [tf.zeros([3, 2])], [momentsOf(p)], options), /parameter 0 to be \[2,3\], found \[3,2\]/);
    assert.throws(() => adamw([p], [], [momentsOf(p)], options), /a gradient and moments for each of 1 parameters, found 0 and 1/);
  });

  test('is a backend’s own where it has one', () => {
    let called = 0;
    registerAdamW('imaginary', () => void called++);
    const p = tf.variable(tf.tensor1d([1]));
    adamw([p], [tf.tensor1d([1])], [momentsOf(p)], options);
    assert.equal(called, 0);
  });
});

describe('clipping', () => {
  before(() => tf.setBackend('cpu'));

  test('measures all gradients as one vector', () => {
    close(globalNorm([tf.tensor1d([3, 0]), tf.tensor2d([[4]])]), [5]);
  });

  test('brings a large norm to the most allowed and leaves a small one', () => {
    assert.ok(Math.abs(clipFactor(5, 1) - 0.2) < 1e-6);
    assert.equal(clipFactor(0.5, 1), 1);
    assert.equal(clipFactor(0.5, Infinity), 1);
  });
});
