import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { linear, layerNorm, rmsNorm, valueAndGrads } from './index.js';

describe('valueAndGrads', () => {
  before(() => tf.setBackend('cpu'));
  const x = tf.tensor2d([[1, 2], [3, 4]]);
  const a = tf.variable(tf.tensor2d([[1, 0.5], [0.25, 2]]));
  const b = tf.variable(tf.tensor2d([[0.5, 1], [1, -1]]));

  test('agrees with tf.variableGrads where a tensor is used more than once', () => {
    const loss = () => {
      const y = tf.matMul(a, b).add(a);
      return y.mul(y).add(y.relu()).sum() as tf.Scalar;
    };
    const expected = tf.variableGrads(loss, [a, b]);
    const { value, grads } = valueAndGrads(loss, new Map([['a', a], ['b', b]]));
    assert.deepEqual(value.dataSync(), expected.value.dataSync());
    assert.deepEqual(grads.get('a')!.dataSync(), expected.grads[a.name].dataSync());
    assert.deepEqual(grads.get('b')!.dataSync(), expected.grads[b.name].dataSync());
    tf.dispose([value, ...grads.values(), expected as unknown as tf.TensorContainer]);
  });

  test('names a variable that the loss does not depend on, or gives zeros', () => {
    const loss = () => a.sum() as tf.Scalar;
    const tensors = tf.memory().numTensors;
    assert.throws(() => valueAndGrads(loss, new Map([['a', a], ['head.weight', b]])), /1 of 2 variables, first "head\.weight"/);
    assert.equal(tf.memory().numTensors, tensors);
    const { value, grads } = valueAndGrads(loss, new Map([['a', a], ['b', b]]), { allowUnused: true });
    assert.deepEqual(Array.from(grads.get('b')!.dataSync()), [0, 0, 0, 0]);
    tf.dispose([value, ...grads.values()]);
  });

  test('keeps nothing when the loss throws', () => {
    const tensors = tf.memory().numTensors;
    const broken = () => {
      rmsNorm(a, tf.ones([2]), 1e-6);
      throw new Error('broken sample');
    };
    assert.throws(() => valueAndGrads(broken, new Map([['a', a]])), /broken sample/);
    assert.equal(tf.memory().numTensors, tensors);
    const { value, grads } = valueAndGrads(() => a.sum() as tf.Scalar, new Map([['a', a]]));
    tf.dispose([value, ...grads.values()]);
  });

  test('refuses a loss that is not one number', () => {
    assert.throws(() => valueAndGrads(() => a.sum(0) as tf.Scalar, new Map([['a', a]])), /expected a loss of one number, found shape \[2\]/);
  });

  test('computes no gradient of a frozen weight', async () => {
    const norm = tf.variable(tf.ones([2]));
    const bias = tf.variable(tf.zeros([2]));
    const loss = () => layerNorm(linear(x, a), norm, bias, 1e-5).mul(x).sum() as tf.Scalar;
    const kernels = async (variables: Map<string, tf.Tensor>) => {
      const { kernelNames } = await tf.profile(() => {
        const { value, grads } = valueAndGrads(loss, variables);
        tf.dispose([value, ...grads.values()]);
        return x;
      });
      return kernelNames;
    };
    assert.ok((await kernels(new Map([['a', a]]))).includes('DreamLayerNormGradInput'));
    assert.ok(!(await kernels(new Map([['a', a]]))).includes('DreamLayerNormGradParams'));
    assert.ok(!(await kernels(new Map([['bias', bias]]))).includes('DreamLayerNormGradInput'));
    tf.dispose([norm, bias]);
  });
});
