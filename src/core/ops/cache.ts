import * as tf from '@tensorflow/tfjs';
import { attention, rope } from './attention.js';
import { gated } from './activations.js';
import { defineKernel, run, shapeError } from './kernel.js';
import { linear, linears } from './linear.js';
import { rmsNorm } from './norms.js';

/**
 * Writes new rows behind the first `length` rows of a key or value cache. cache [batch, room, dim], x [batch, tokens, dim] -> [batch, room or more,
 * dim], of which the first `length + tokens` rows hold something. The backend `dream` writes in place while there is room and gives another handle
 * to the same numbers; elsewhere the result is made anew, without room. The caller disposes the old handle. Not for gradients.
 */
export function cacheAppend(cache: tf.Tensor3D | undefined, x: tf.Tensor3D, length: number): tf.Tensor3D {
  const fits = (held: tf.Tensor3D) => held.rank === 3 && held.shape[0] === x.shape[0] && held.shape[1] >= length && held.shape[2] === x.shape[2];
  if (x.rank !== 3 || (cache ? !fits(cache) : length !== 0)) shapeError('cacheAppend', `x [batch, tokens, dim] and a cache [batch, ${length} or more, dim]`, { x, cache });
  return run('DreamCacheAppend', { cache, x }, { length }) as tf.Tensor3D;
}

defineKernel('DreamCacheAppend', ({ cache, x }, { length }) => (cache ? tf.concat([cache.slice([0, 0, 0], [-1, length, -1]), x], 1) : x.clone()));

/** The weights of a LLaMA layer: norms [dim], q, k, v and gate, up from dim to their width, o and down back. Matrices are [out, in]. */
export type DecodeWeights = Record<'norm1' | 'q' | 'k' | 'v' | 'o' | 'norm2' | 'gate' | 'up' | 'down', tf.Tensor>;

export interface DecodeOptions {
  numHeads: number;
  numKvHeads: number;
  /** Of the norms. */
  eps: number;
  /** cos and sin of the new token's position, each [batch or 1, 1, headDim]. */
  rope: { cos: tf.Tensor3D; sin: tf.Tensor3D };
  /** [batch or 1, 1, 1, length + 1], added to the scores. Finite: use -1e9 to hide a key. */
  bias?: tf.Tensor4D;
}

/** Keys and values of the first `length` tokens, [batch, room, kvHeads·headDim] each, as `cacheAppend` makes them. None: no tokens yet. */
export interface Cached {
  keys?: tf.Tensor3D;
  values?: tf.Tensor3D;
  length: number;
}

/**
 * One LLaMA layer for the next token of each sequence: x [batch, 1, dim] -> its output `y`, like x, and the caches with the token's keys and values.
 * Like `cacheAppend` it writes in place where it can; the caller disposes the old handles. Not for gradients.
 */
export function decodeLayer(x: tf.Tensor3D, weights: DecodeWeights, { keys, values, length }: Cached, options: DecodeOptions): { y: tf.Tensor3D; keys: tf.Tensor3D; values: tf.Tensor3D } {
  const { numHeads, numKvHeads, eps, rope: { cos, sin }, bias } = options;
  const [batch, tokens, dim] = x.shape;
  const { q, k, v, o, gate, up, down } = weights;
  const headDim = q.shape[0] / numHeads;
  const is = (t: tf.Tensor, out: number, inSize: number) => t.rank === 2 && t.shape[0] === out && t.shape[1] === inSize;
  const kvDim = headDim * numKvHeads;
  const oneOr = (t: tf.Tensor) => t.shape[0] === 1 || t.shape[0] === batch;
  const holds = (t: tf.Tensor3D | undefined) => (t ? t.shape[0] === batch && t.shape[1] >= length && t.shape[2] === kvDim : length === 0);
  if (
    tokens !== 1 || !Number.isInteger(headDim) || numHeads % numKvHeads !== 0 || !is(q, q.shape[0], dim) || !is(k, kvDim, dim) || !is(v, kvDim, dim) || !is(o, dim, q.shape[0]) ||
    !is(gate, gate.shape[0], dim) || !is(up, gate.shape[0], dim) || !is(down, dim, gate.shape[0]) || !holds(keys) || !holds(values) ||
    [cos, sin].some((t) => !oneOr(t) || t.shape[1] !== 1 || t.shape[2] !== headDim) || (bias && (!oneOr(bias) || bias.shape[2] !== 1 || bias.shape[3] !== length + 1))
  ) {
    const expected = `x [batch, 1, dim], matrices [out, in] for ${numHeads} heads and ${numKvHeads} of keys, caches [batch, ${length} or more, ${kvDim}], cos and sin [batch or 1, 1, ${headDim}], bias [batch or 1, 1, 1, ${length + 1}]`;
    shapeError('decodeLayer', expected, { x, ...weights, cos, sin, keys, values, bias });
  }
  const [y, newKeys, newValues] = run('DreamDecodeLayer', { x, ...weights, cos, sin, keys, values, bias }, { length, numHeads, numKvHeads, eps }) as tf.Tensor3D[];
  return { y, keys: newKeys, values: newValues };
}

defineKernel('DreamDecodeLayer', ({ x, norm1, q, k, v, o, norm2, gate, up, down, cos, sin, keys, values, bias }, { length, numHeads, numKvHeads, eps }) => {
  const [query, key, value] = linears(rmsNorm(x as tf.Tensor3D, norm1, eps), [q, k, v].map((weight) => ({ weight })));
  const newKeys = cacheAppend(keys, rope(key, cos, sin, numKvHeads), length);
  const newValues = cacheAppend(values, value, length);
  const mixed = attention(rope(query, cos, sin, numHeads), newKeys, newValues, { numHeads, numKvHeads, causal: true, bias, keys: length + 1 });
  const attended = linear(mixed, o, undefined, x);
  const [inner, scale] = linears(rmsNorm(attended, norm2, eps), [{ weight: gate }, { weight: up }]);
  return [linear(gated(inner, scale, 'silu'), down, undefined, attended), newKeys, newValues];
});
