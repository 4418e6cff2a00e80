import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { initialize } from '../core/params.js';
import { biasedConv2dSpec, biasedLinearSpec, conv2d, conv2dSpec, linear, linearSpec, mlp, mlpSpec, normSpec, ropeAngles, swiglu, layerNorm } from './index.js';

const close = (found: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-6) =>
  Array.from(expected, (e, i) => assert.ok(Math.abs(found[i] - e) <= tolerance, `${found[i]} for ${e}`));

describe('layers', () => {
  before(() => tf.setBackend('cpu'));

  test('start as PyTorch’s: linear maps and convolutions within ±1/√(fan in), norms as the identity', () => {
    const within = (x: tf.Tensor, bound: number) => {
      const largest = Math.max(...Array.from(x.dataSync(), Math.abs));
      assert.ok(largest <= bound && largest > 0.8 * bound, `${largest} for ${bound}`);
    };
    const { weight, bias } = initialize(biasedLinearSpec(100, 50), 0);
    within(weight, 0.1);
    within(bias, 0.1);
    within(initialize(biasedConv2dSpec(4, 8, 5), 0).weight, 0.1);
    const norm = initialize(normSpec(3), 0);
    const x = tf.tensor2d([[-1, 0, 1]]).mul<tf.Tensor2D>(Math.sqrt(1.5));
    close(layerNorm(norm, x, 0).dataSync(), x.dataSync());
  });

  test('hold weights as checkpoints do, convolution kernels as tfjs does', () => {
    assert.deepEqual(linearSpec(3, 5).weight.shape, [5, 3]);
    assert.deepEqual(conv2dSpec(3, 5, 2).weight.shape, [2, 2, 3, 5]);
    assert.equal(conv2dSpec(3, 5, 2).weight.layout, 'conv');
    assert.ok(!('bias' in linearSpec(3, 5)) && !('bias' in conv2dSpec(3, 5, 2)));
  });

  test('apply their parameters to the last axis', () => {
    const p = { weight: tf.variable(tf.tensor2d([[1, 2], [3, 4], [5, 6]])), bias: tf.variable(tf.tensor1d([0.5, 0, -0.5])) };
    const y = linear(p, tf.tensor3d([[[1, 1]], [[0, 2]]]));
    assert.deepEqual(y.shape, [2, 1, 3]);
    close(y.dataSync(), [3.5, 7, 10.5, 4.5, 8, 11.5]);
    const k = initialize(conv2dSpec(2, 3, 1), 0);
    assert.deepEqual(conv2d(k, tf.ones([1, 4, 4, 2]), { stride: 2 }).shape, [1, 2, 2, 3]);
  });

  test('feed forward as their formulas say', () => {
    const silu = (x: number) => x / (1 + Math.exp(-x));
    const one = (value: number) => ({ weight: tf.variable(tf.tensor2d([[value]])) });
    const gatedMlp = { gate_proj: one(2), up_proj: one(3), down_proj: one(5) } as Parameters<typeof swiglu>[0];
    close(swiglu(gatedMlp, tf.tensor2d([[0.7]])).dataSync(), [5 * silu(1.4) * 2.1], 1e-5);
    const p = initialize(mlpSpec(1, 1), 0);
    const [w1, b1, w2, b2] = [p.fc1.weight, p.fc1.bias, p.fc2.weight, p.fc2.bias].map((v) => v.dataSync()[0]);
    const inner = w1 * 0.7 + b1;
    close(mlp(p, tf.tensor2d([[0.7]]), 'quickGelu').dataSync(), [(w2 * inner) / (1 + Math.exp(-1.702 * inner)) + b2], 1e-6);
  });

  test('name themselves when a shape does not fit', () => {
    assert.throws(() => linear(initialize(linearSpec(3, 5), 0), tf.zeros([2, 4])), /linear: expected x \[…, in\], weight \[out, in\] and bias \[out\], found x \[2, 4\], weight \[5, 3\]/);
    assert.throws(() => conv2d(initialize(conv2dSpec(3, 5, 2), 0), tf.zeros([1, 4, 4, 2])), /conv2d: expected x \[images, height, width, in\]/);
  });
});

describe('ropeAngles', () => {
  test('turn pairs of a head at falling speeds, the second half as the first', () => {
    const { cos, sin } = ropeAngles([0, 1, 100], { headDim: 4, theta: 10000 });
    assert.deepEqual(cos.shape, [1, 3, 4]);
    close(cos.dataSync(), [1, 1, 1, 1, Math.cos(1), Math.cos(0.01), Math.cos(1), Math.cos(0.01), Math.cos(100), Math.cos(1), Math.cos(100), Math.cos(1)]);
    close(sin.dataSync().slice(4, 8), [Math.sin(1), Math.sin(0.01), Math.sin(1), Math.sin(0.01)]);
  });

  test('may differ between sequences, and shrink by a scaling factor', () => {
    const { cos } = ropeAngles([[0, 1], [4, 5]], { headDim: 2, theta: 100, scaling: 2 });
    assert.deepEqual(cos.shape, [2, 2, 2]);
    close(cos.dataSync(), [1, 1, Math.cos(0.5), Math.cos(0.5), Math.cos(2), Math.cos(2), Math.cos(2.5), Math.cos(2.5)]);
  });
});
