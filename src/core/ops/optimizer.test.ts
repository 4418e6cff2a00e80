import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { adamw, clipByGlobalNorm, registerAdamW, type Moments } from './index.js';

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

describe('clipByGlobalNorm', () => {
  before(() => tf.setBackend('cpu'));

  test('scales all gradients by one factor and returns the norm before', () => {
    const grads = new Map<string, tf.Tensor>([['a', tf.tensor1d([3, 0])], ['b', tf.tensor2d([[4]])]]);
    const tensors = tf.memory().numTensors;
    const norm = clipByGlobalNorm(grads, 1);
    assert.equal(tf.memory().numTensors, tensors + 1);
    close(norm, [5]);
    close(grads.get('a')!, [0.6, 0]);
    close(grads.get('b')!, [0.8]);
  });

  test('leaves small gradients as they are', () => {
    const grads = new Map<string, tf.Tensor>([['a', tf.tensor1d([0.3, 0.4])]]);
    close(clipByGlobalNorm(grads, 1), [0.5]);
    assert.deepEqual(grads.get('a')!.dataSync(), Float32Array.of(0.3, 0.4));
  });
});
