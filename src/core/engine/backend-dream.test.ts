import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { random } from '../random.js';
import type { DreamBackend } from './dream-backend.js';
import { testEngines, useTestEngine } from './test-backends.js';

const draw = (shape: number[], name = 'x') => tf.tensor(random(3, name).normals(shape.reduce((a, b) => a * b, 1)), shape);

/** Stock operations with the shapes that take each path of the backend's own kernels, and some that fall back to the plain cpu kernels. */
const operations: Record<string, () => tf.Tensor | tf.Tensor[]> = {
  'add, broadcast along rows': () => draw([4, 5]).add(draw([5], 'y')),
  'add, broadcast along columns': () => draw([4, 5]).add(draw([4, 1], 'y')),
  'add, broadcast on both sides': () => draw([3, 1, 5]).add(draw([4, 1], 'y')),
  'add of scalars': () => draw([]).add(draw([], 'y')),
  'multiply over five axes': () => draw([2, 3, 1, 5, 2]).mul(draw([3, 4, 1, 2], 'y')),
  'sub, div, squaredDifference': () => [draw([2, 3]).sub(draw([3], 'y')), draw([2, 3]).div(draw([2, 1], 'y')), tf.squaredDifference(draw([6]), draw([6], 'y'))],
  'maximum, minimum': () => [draw([2, 3]).maximum(0), draw([2, 3]).minimum(draw([2, 3], 'y'))],
  'addition of integers': () => tf.tensor([1, 2, 3], [3], 'int32').add(tf.tensor([4], [1], 'int32')),
  'addition of integers and floats': () => tf.tensor([1, 2, 3], [3], 'int32').add(draw([3])),
  addN: () => tf.addN([draw([7]), draw([7], 'y'), draw([7], 'z')]),
  'matMul, batched': () => tf.matMul(draw([2, 3, 4, 5]), draw([2, 3, 5, 6], 'y')),
  'matMul, one side broadcast': () => [tf.matMul(draw([3, 4, 5]), draw([1, 5, 6], 'y')), tf.matMul(draw([1, 4, 5]), draw([3, 6, 5], 'y'), false, true), tf.matMul(draw([3, 5, 4]), draw([5, 6], 'y') as tf.Tensor, true)],
  'matMul of nothing': () => [tf.matMul(tf.zeros([0, 3]), draw([3, 4])), tf.matMul(tf.zeros([2, 0]), tf.zeros([0, 4]))],
  'fused matMul': () => tf.fused.matMul({ a: draw([4, 5]) as tf.Tensor2D, b: draw([5, 6], 'y') as tf.Tensor2D, bias: draw([6], 'z'), activation: 'relu' }),
  sums: () => [draw([3, 4, 5]).sum(), draw([3, 4, 5]).sum(0), draw([3, 4, 5]).sum(1), draw([3, 4, 5]).sum([0, 2]), draw([3, 4, 5]).sum(-1, true)],
  means: () => [draw([3, 4, 5]).mean(), draw([3, 4, 5]).mean([0, 1]), draw([3, 4, 5, 2]).mean([1, 3], true)],
  'sum of integers and booleans': () => [tf.tensor([1, 2, 3], [3], 'int32').sum(), tf.tensor([1, 0, 1], [3], 'bool').sum()],
  'max and softmax': () => [draw([3, 4]).max(0), draw([3, 4]).max(), tf.softmax(draw([3, 4])), tf.softmax(draw([3, 4]), 1), tf.logSoftmax(draw([3, 4]))],
  slices: () => [draw([4, 5, 6]).slice([1, 2, 3], [2, 2, 2]), draw([4, 5, 6]).slice([2], [1]), draw([4, 5]).slice([0, 1], [-1, 0]), tf.tensor([1, 2, 3], [3], 'int32').slice([1], [2])],
  'concat, stack, split, unstack': () => [tf.concat([draw([2, 3]), draw([2, 1], 'y'), tf.zeros([2, 0])], 1), tf.stack([draw([2, 3]), draw([2, 3], 'y')], 1), ...tf.split(draw([2, 6]), [1, 5], 1), ...tf.unstack(draw([2, 3]), 1)],
  'transpose': () => [draw([33, 18]).transpose(), draw([2, 3, 4, 5]).transpose([0, 2, 1, 3]), draw([2, 3, 4, 5]).transpose([3, 1, 0, 2]), tf.tensor([1, 0, 1, 1], [2, 2], 'bool').transpose()],
  'pad and tile': () => [draw([2, 3]).pad([[1, 0], [2, 1]], 7), draw([2, 3]).tile([2, 3]), tf.tensor([1, 2], [2], 'int32').tile([3])],
  gather: () => [tf.gather(draw([4, 3]), tf.tensor([3, 0, 3], [3], 'int32')), tf.gather(draw([2, 4, 3]), tf.tensor([[1, 0]], [1, 2], 'int32'), 1)],
  'unsortedSegmentSum': () => tf.unsortedSegmentSum(draw([5, 2]), tf.tensor([0, 2, 0, 1, 2], [5], 'int32') as tf.Tensor1D, 4),
  'casts': () => [tf.tensor([1, 2, 3], [3], 'int32').toFloat().div(2), draw([5]).mul(3).toInt(), tf.tensor([1, 0], [2], 'bool').toFloat(), draw([3]).toBool()],
  'where': () => tf.where(tf.tensor([1, 0, 1], [3], 'bool'), draw([3]), draw([3], 'y')),
  'conv2d with stock paddings': () => [tf.conv2d(draw([2, 7, 6, 3]) as tf.Tensor4D, draw([3, 3, 3, 4], 'y') as tf.Tensor4D, 2, 'same'), tf.conv2d(draw([1, 7, 6, 3]) as tf.Tensor4D, draw([3, 2, 3, 4], 'y') as tf.Tensor4D, 1, 'valid', 'NHWC', [2, 2])],
  'resizeNearestNeighbor': () => tf.image.resizeNearestNeighbor(draw([2, 3, 3, 2]) as tf.Tensor4D, [6, 6]),
  'pooling': () => [tf.maxPool(draw([2, 7, 6, 5]) as tf.Tensor4D, 3, 2, 'valid'), tf.maxPool(draw([1, 5, 5, 3]) as tf.Tensor4D, 3, 1, 'same'), tf.avgPool(draw([2, 5, 6, 3]) as tf.Tensor4D, [3, 2], [1, 2], 'same')],
  'resizeBilinear': () => [
    tf.image.resizeBilinear(draw([2, 3, 4, 5]) as tf.Tensor4D, [7, 3]),
    tf.image.resizeBilinear(draw([2, 3, 4, 5]) as tf.Tensor4D, [6, 9], false, true),
    tf.image.resizeBilinear(draw([1, 3, 4, 5]) as tf.Tensor4D, [5, 5], true),
  ],
  'argMax': () => [draw([3, 40]).argMax(1), draw([3, 4]).argMax(0), tf.tensor([1, 5, 5]).argMax()],
  'booleans, strings and complex numbers': () => [draw([4]).greater(0), draw([4]).greater(0).logicalNot(), tf.complex(draw([3]), draw([3], 'y')).mul(tf.complex(draw([3], 'z'), draw([3])))],
  'one-hot, argMax, cumsum, topk': () => [tf.oneHot(tf.tensor([0, 2], [2], 'int32'), 3), draw([3, 4]).argMax(1), draw([3, 4]).cumsum(1), tf.topk(draw([3, 4]), 2).values],
  'zeros, ones, fill, range': () => [tf.zeros([2, 2]), tf.ones([2], 'int32'), tf.fill([3], 2.5), tf.range(0, 5), tf.zerosLike(tf.ones([3]))],
};

const read = (result: tf.Tensor | tf.Tensor[]) => [result].flat().map((tensor) => ({ shape: tensor.shape, dtype: tensor.dtype, values: [...tensor.dataSync()] as number[] }));

for (const engine of testEngines()) {
  describe(`the backend on ${engine.name}`, () => {
    before(() => useTestEngine(engine));

    for (const [name, operation] of Object.entries(operations)) {
      test(`agrees with the plain cpu backend: ${name}`, async () => {
        const found = tf.tidy(() => read(operation()));
        await tf.setBackend('cpu');
        const expected = tf.tidy(() => read(operation()));
        await tf.setBackend(engine.name);
        assert.deepEqual(found.map(({ shape, dtype }) => ({ shape, dtype })), expected.map(({ shape, dtype }) => ({ shape, dtype })));
        found.forEach(({ values }, i) =>
          values.forEach((value, e) => assert.ok(Math.abs(value - expected[i].values[e]) <= 1e-5 * Math.max(1, Math.abs(expected[i].values[e])), `result ${i}, element ${e}: ${value}, expected ${expected[i].values[e]}`)));
      });
    }

    test('takes copies: neither given arrays nor read ones are the tensor', () => {
      const given = Float32Array.of(1, 2, 3);
      const x = tf.tensor(given);
      given[0] = 9;
      const seen = x.dataSync();
      seen[1] = 9;
      assert.deepEqual([...x.dataSync()], [1, 2, 3]);
      x.dispose();
    });

    test('gives back all memory, and uses it again', () => {
      const { pool } = tf.backend() as DreamBackend;
      const work = () => tf.tidy(() => {
        const w = draw([30, 30]);
        const { grads } = tf.variableGrads(() => tf.matMul(w, v).relu().softmax().transpose().concat([w], 0).slice([1, 1], [4, 4]).sum() as tf.Scalar, [v]);
        return Object.values(grads)[0].dataSync()[0];
      });
      const v = tf.variable(draw([30, 30]));
      work();
      const { used, reserved } = pool;
      const tensors = tf.memory().numTensors;
      for (let i = 0; i < 20; i++) work();
      assert.equal(tf.memory().numTensors, tensors);
      assert.equal(pool.used, used);
      assert.equal(pool.reserved, reserved);
      v.dispose();
    });

    test('differentiates resizeNearestNeighbor for several images', () => {
      const dx = tf.tidy(() => tf.grad((x: tf.Tensor) => tf.image.resizeNearestNeighbor(x as tf.Tensor4D, [4, 4]).mul(tf.range(0, 32).reshape([2, 4, 4, 1])).sum())(draw([2, 2, 2, 1])).dataSync());
      assert.deepEqual([...dx], [10, 18, 42, 50, 74, 82, 106, 114]);
    });

    test('says which id lies outside of a table', () => {
      assert.throws(() => tf.tidy(() => tf.gather(draw([4, 3]), tf.tensor([4], [1], 'int32')).dataSync()), /outside of its table/);
    });
  });
}
