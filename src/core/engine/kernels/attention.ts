import type * as tf from '@tensorflow/tfjs';
import { needsStatistics } from '../../ops/kernel.js';
import { size, type DreamBackend } from '../dream-backend.js';
import { copy } from './layout.js';
import type { Attributes, Inputs, KernelTable } from './table.js';

/**
 * Runs `attention` or its gradient on `tensors`: q, k, v and bias, then all of the kernel's own. Sequences of unequal length that lie behind each other are
 * a batch whose rows begin where `starts` says. The numbers are those that attention_arguments in native/attention.h reads.
 */
function run(backend: DreamBackend, kernel: 'attention' | 'attention_grad', tensors: readonly (tf.TensorInfo | undefined)[], attributes: Attributes): void {
  const [q, k, , bias] = tensors as [tf.TensorInfo, tf.TensorInfo, tf.TensorInfo, tf.TensorInfo | undefined];
  const { numHeads, numKvHeads, causal, scale, lengths } = attributes as Attributes & { lengths?: readonly number[] };
  const [, rows, width] = q.shape;
  const views = tensors.map((tensor) => (tensor ? backend.floats(tensor) : null));
  const numbers = (batch: number, tokens: number, keys: number, biasBatchStride: number, biasRowStride: number, keyRows: number) =>
    [batch, tokens, keys, numHeads, numKvHeads, width / numHeads, causal ? 1 : 0, scale, biasBatchStride, biasRowStride, keyRows];
  if (!lengths) {
    const { keys } = attributes;
    const [biasBatch, , biasRows] = bias?.shape ?? [1, 1, 1];
    return backend.run(kernel, views, numbers(q.shape[0], rows, keys, biasBatch > 1 ? biasRows * keys : 0, biasRows > 1 ? keys : 0, k.shape[1]));
  }
  const longest = Math.max(...lengths);
  const starts = [0];
  for (const length of lengths) starts.push(starts[starts.length - 1] + length);
  backend.run(kernel, [...views, backend.list(starts)], numbers(lengths.length, longest, longest, 0, 0, longest));
}

function forward(backend: DreamBackend, { q, k, v, bias }: Inputs, attributes: Attributes): tf.TensorInfo[] {
  const y = backend.output(q.shape);
  const logSumExp = needsStatistics() ? backend.output([q.shape[0], attributes.numHeads, q.shape[1]]) : undefined;
  run(backend, 'attention', [q, k, v, bias, y, logSumExp], attributes);
  return logSumExp ? [y, logSumExp] : [y];
}

function gradient(backend: DreamBackend, { q, k, v, bias, y, logSumExp, dy }: Inputs, attributes: Attributes): [dq: tf.TensorInfo, dk: tf.TensorInfo, dv: tf.TensorInfo] {
  const dq = backend.output(q.shape);
  const dk = backend.output(k.shape);
  const dv = backend.output(v.shape);
  const delta = backend.output(logSumExp.shape);
  run(backend, 'attention_grad', [q, k, v, bias, y, logSumExp, dy, dq, dk, dv, delta], attributes);
  backend.disposeData(delta.dataId);
  return [dq, dk, dv];
}

/** Rotates `x` into `y`, which may be `x`. */
function rotate(backend: DreamBackend, { x, cos, sin, y }: Inputs, numHeads: number, inverse: boolean): tf.TensorInfo {
  const [batch, tokens, width] = x.shape;
  const tableStride = cos.shape[0] > 1 ? size(cos.shape.slice(1)) : 0;
  backend.run('rope', [x, cos, sin, y].map((tensor) => backend.floats(tensor)), [batch, tokens, numHeads, width / numHeads, tableStride, inverse ? 1 : 0]);
  return y;
}

type Shape3 = [batch: number, rows: number, dim: number];

/** DECODE_ROWS in native/decode.h. */
const MOST_DECODED = 32;

/** Another handle to a cache where it has room for `rows` rows a sequence, or a larger one that holds the same first `length` rows. */
function withRoom(backend: DreamBackend, cache: tf.TensorInfo | undefined, [batch, rows, dim]: Shape3, length: number): tf.TensorInfo {
  if (cache && cache.shape[1] >= rows) {
    backend.incRef(cache.dataId);
    return { dataId: cache.dataId, shape: cache.shape, dtype: cache.dtype };
  }
  const grown = backend.output([batch, Math.max(64, 2 ** Math.ceil(Math.log2(rows + 1))), dim]);
  if (cache) copy(backend, cache, grown, { sizes: [batch, length * dim], from: [cache.shape[1] * dim, 1], to: [grown.shape[1] * dim, 1] });
  return grown;
}

export const attentionKernels: KernelTable = {
  DreamAttention: forward,
  DreamAttentionGrad: gradient,

  DreamRopeAttention: (backend, { cos, sin, ...inputs }, attributes) => {
    const q = rotate(backend, { x: inputs.q, cos, sin, y: backend.output(inputs.q.shape) }, attributes.numHeads, false);
    const k = rotate(backend, { x: inputs.k, cos, sin, y: backend.output(inputs.k.shape) }, attributes.numKvHeads, false);
    const made = forward(backend, { ...inputs, q, k }, attributes);
    if (needsStatistics()) return [...made, q, k];
    for (const { dataId } of [q, k]) backend.disposeData(dataId);
    return made;
  },
  DreamRopeAttentionGrad: (backend, { cos, sin, ...inputs }, attributes) => {
    const [dq, dk, dv] = gradient(backend, inputs, attributes);
    rotate(backend, { x: dq, cos, sin, y: dq }, attributes.numHeads, true);
    rotate(backend, { x: dk, cos, sin, y: dk }, attributes.numKvHeads, true);
    return [dq, dk, dv];
  },

  DreamCacheAppend: (backend, { cache, x }, { length }) => {
    const [batch, tokens, dim] = x.shape;
    const held = withRoom(backend, cache, [batch, length + tokens, dim], length);
    copy(backend, x, held, { sizes: [batch, tokens * dim], from: [tokens * dim, 1], to: [held.shape[1] * dim, 1], toOffset: length * dim });
    return held;
  },

  DreamDecodeLayer: (backend, inputs, { length, numHeads, numKvHeads, eps }) => {
    const { x, norm1, q, k, v, o, norm2, gate, up, down, cos, sin, keys, values, bias } = inputs;
    const [rows, , dim] = x.shape;
    const weights = [norm1, q, k, v, o, norm2, gate, up, down];
    if (rows > MOST_DECODED || weights.some((weight) => backend.packed(weight))) return undefined;
    const headDim = q.shape[0] / numHeads;
    const needed: Shape3 = [rows, length + 1, k.shape[0]];
    const held = [withRoom(backend, keys, needed, length), withRoom(backend, values, needed, length)];
    const y = backend.output(x.shape);
    const stride = (tensor: tf.TensorInfo | undefined) => (tensor && tensor.shape[0] > 1 ? tensor.shape[tensor.shape.length - 1] : 0);
    backend.run(
      'decode_layer',
      [...[x, ...weights, cos, sin, ...held].map((tensor) => backend.floats(tensor)), bias ? backend.floats(bias) : null, backend.floats(y)],
      [rows, dim, numHeads, numKvHeads, headDim, gate.shape[0], length, held[0].shape[1], eps, headDim ** -0.5, stride(cos), stride(bias)],
    );
    return [y, ...held];
  },

  DreamRope: (backend, { x, cos, sin }, { numHeads, inverse }) => rotate(backend, { x, cos, sin, y: backend.output(x.shape) }, numHeads, inverse),
};
