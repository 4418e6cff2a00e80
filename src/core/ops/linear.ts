import * as tf from '@tensorflow/tfjs';
import { adding, asRows, defineGradient, defineGradients, defineKernel, run, runLookup, shapeError, type InputGradient } from './kernel.js';

/** `x · weightᵀ + bias + residual`. x […, in], weight [out, in], bias [out], residual like the result -> […, out]. */
export function linear<T extends tf.Tensor>(x: T, weight: tf.Tensor, bias?: tf.Tensor, residual?: T): T {
  check(x, weight, bias);
  if (residual && (residual.rank !== x.rank || residual.shape.some((n, i) => n !== (i === x.rank - 1 ? weight.shape[0] : x.shape[i])))) {
    shapeError('linear', `a residual […, ${weight.shape[0]}] with the leading axes of x`, { x, weight, residual });
  }
  return run('DreamLinear', { x, weight, bias, residual }) as T;
}

function check(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor | undefined): void {
  const [out, inSize] = weight.shape;
  if (weight.rank !== 2 || x.shape[x.rank - 1] !== inSize || (bias && (bias.rank !== 1 || bias.shape[0] !== out))) {
    shapeError('linear', 'x […, in], weight [out, in] and bias [out]', { x, weight, bias });
  }
}

const sumOf = (terms: (tf.Tensor | undefined)[]): tf.Tensor => terms.filter((term) => term !== undefined).reduce((a, b) => a!.add(b!))!;

defineKernel('DreamLinear', ({ x, weight, bias, residual }) => {
  const product = tf.matMul(asRows(x), weight, false, true);
  const shaped = (bias ? product.add(bias) : product).reshape([...x.shape.slice(0, -1), weight.shape[0]]);
  return residual ? shaped.add(residual) : shaped;
});

defineGradient('DreamLinear', { inputs: ['x', 'weight'] }, (dy, [x, weight]) => ({
  x: adding((soFar) => run('DreamLinearGradInput', { dy, weight, soFar }) as tf.Tensor),
  weight: () => run('DreamLinearGradWeight', { dy, x }) as tf.Tensor,
  bias: () => asRows(dy).sum(0),
  residual: () => dy.clone(),
}));

defineKernel('DreamLinearGradInput', ({ dy, weight, soFar }) =>
  sumOf([soFar, tf.matMul(asRows(dy), weight).reshape([...dy.shape.slice(0, -1), weight.shape[1]])]),
);
defineKernel('DreamLinearGradWeight', ({ dy, x }) => tf.matMul(asRows(dy), asRows(x), true, false));

/** Several linear maps of one input, such as queries, keys and values. Like `linear` of each; the gradient of `x` is summed in one place. */
export function linears<T extends tf.Tensor>(x: T, maps: readonly { weight: tf.Tensor; bias?: tf.Tensor }[]): T[] {
  const inputs: Record<string, tf.Tensor | undefined> = { x };
  maps.forEach(({ weight, bias }, i) => {
    check(x, weight, bias);
    inputs[`weight${i}`] = weight;
    inputs[`bias${i}`] = bias;
  });
  return run('DreamLinears', inputs, { count: maps.length }) as T[];
}

const each = <T>(count: number, of: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => of(i));

defineKernel('DreamLinears', ({ x, ...inputs }, { count }) => each(count, (i) => linear(x, inputs[`weight${i}`], inputs[`bias${i}`])));

defineGradients(
  'DreamLinears',
  ({ x, ...inputs }) => [x, ...Object.keys(inputs).filter((name) => name.startsWith('weight')).map((name) => inputs[name])],
  (dys, [x, ...weights]: tf.Tensor[]) => {
    const inputs: Record<string, tf.Tensor | undefined> = {};
    const closures: Record<string, InputGradient> = { x: adding((soFar) => run('DreamLinearsGradInput', { ...inputs, soFar }) as tf.Tensor) };
    weights.forEach((weight, i) => {
      const dy = dys[i];
      if (dy) inputs[`dy${i}`] = dy;
      if (dy) inputs[`weight${i}`] = weight;
      closures[`weight${i}`] = () => (dy ? (run('DreamLinearGradWeight', { dy, x }) as tf.Tensor) : tf.zerosLike(weight));
      closures[`bias${i}`] = () => (dy ? asRows(dy).sum(0) : tf.zeros([weight.shape[0]]));
    });
    return closures;
  },
);

defineKernel('DreamLinearsGradInput', ({ soFar, ...inputs }) => {
  const parts = Object.keys(inputs).filter((name) => name.startsWith('dy')).map((name) => name.slice(2));
  return sumOf([soFar, ...parts.map((i) => run('DreamLinearGradInput', { dy: inputs[`dy${i}`], weight: inputs[`weight${i}`] }) as tf.Tensor)]);
});

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
