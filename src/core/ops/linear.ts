import * as tf from '@tensorflow/tfjs';
import { asRows, defineGradient, defineKernel, run, runLookup, shapeError } from './kernel.js';

/** `x · weightᵀ + bias`. x […, in], weight [out, in], bias [out] -> […, out]. */
export function linear<T extends tf.Tensor>(x: T, weight: tf.Tensor, bias?: tf.Tensor): T {
  const [out, inSize] = weight.shape;
  if (weight.rank !== 2 || x.shape[x.rank - 1] !== inSize || (bias && (bias.rank !== 1 || bias.shape[0] !== out))) {
    shapeError('linear', 'x […, in], weight [out, in] and bias [out]', { x, weight, bias });
  }
  return run('DreamLinear', { x, weight, bias }) as T;
}

defineKernel('DreamLinear', ({ x, weight, bias }) => {
  const product = tf.matMul(asRows(x), weight, false, true);
  return (bias ? product.add(bias) : product).reshape([...x.shape.slice(0, -1), weight.shape[0]]);
});

defineGradient('DreamLinear', { inputs: ['x', 'weight'] }, (dy, [x, weight]) => ({
  x: () => tf.matMul(asRows(dy), weight as tf.Tensor2D).reshape(x.shape),
  weight: () => tf.matMul(asRows(dy), asRows(x), true, false),
  bias: () => asRows(dy).sum(0),
}));

/** Rows of a table. table [vocab, dim], ids int32 […] -> […, dim]. An id outside the table is an error. */
export function embedding(table: tf.Tensor, ids: tf.Tensor): tf.Tensor {
  if (table.rank !== 2) shapeError('embedding', 'table [vocab, dim]', { table, ids });
  if (ids.dtype !== 'int32') throw new Error(`embedding: expected ids of type int32, found ${ids.dtype}. Make them with tf.tensor(ids, shape, 'int32').`);
  return runLookup('DreamEmbedding', ids, table.shape[0], undefined, { table, ids }) as tf.Tensor;
}

defineKernel('DreamEmbedding', ({ table, ids }) => tf.gather(table, ids.flatten()).reshape([...ids.shape, table.shape[1]]));

defineGradient('DreamEmbedding', { inputs: ['table', 'ids'] }, (dy, [table, ids]) => ({
  table: () => run('DreamEmbeddingGrad', { dy, ids }, { vocab: table.shape[0] }) as tf.Tensor,
}));

// scatterND adds up the rows of an id that occurs more than once.
defineKernel('DreamEmbeddingGrad', ({ dy, ids }, { vocab }) => {
  const dim = dy.shape[dy.rank - 1];
  return tf.scatterND(ids.reshape([ids.size, 1]), dy.reshape([ids.size, dim]), [vocab, dim]);
});
