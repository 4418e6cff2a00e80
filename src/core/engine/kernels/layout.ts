import * as tf from '@tensorflow/tfjs';
import { packedFormats, size, type DreamBackend } from '../dream-backend.js';
import { collapse } from './strides.js';
import { isFloat, isWord, type KernelTable } from './table.js';

interface Walk {
  sizes: readonly number[];
  from: readonly number[];
  to: readonly number[];
  fromOffset?: number;
  toOffset?: number;
}

/** Copies elements along a strided walk. Returns false when it has more axes than the kernel takes. */
export function copy(backend: DreamBackend, x: tf.TensorInfo, y: tf.TensorInfo, { sizes, from, to, fromOffset = 0, toOffset = 0 }: Walk): boolean {
  const count = size(sizes);
  if (count === 0) return true;
  const view = collapse(sizes, from, to);
  if (view.sizes.length === 1 && (count === 1 || (view.x[0] === 1 && view.y[0] === 1))) {
    backend.run('move', [backend.memoryOf(x).subarray(fromOffset), backend.memoryOf(y).subarray(toOffset)], [4 * count]);
    return true;
  }
  if (view.sizes.length === 1) {
    view.sizes.unshift(1);
    view.x.unshift(0);
    view.y.unshift(0);
  }
  if (view.sizes.length > 8) return false;
  backend.run('copy', [backend.memoryOf(x), backend.memoryOf(y)], [count, view.sizes.length, ...view.sizes, ...view.x, ...view.y, fromOffset, toOffset]);
  return true;
}

const fill = (backend: DreamBackend, y: tf.TensorInfo, value: number) =>
  backend.run('fill', [backend.memoryOf(y)], [size(y.shape), value, y.dtype === 'float32' ? 0 : y.dtype === 'int32' ? 1 : 2]);

const dense = (shape: readonly number[]) => {
  const steps: number[] = [];
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    steps[axis] = step;
    step *= shape[axis];
  }
  return steps;
};

function slice(backend: DreamBackend, x: tf.TensorInfo, begin: readonly number[], sizes: readonly number[]): tf.TensorInfo | undefined {
  const y = backend.output(sizes, x.dtype);
  const from = dense(x.shape);
  const fromOffset = begin.reduce((sum, b, axis) => sum + b * from[axis], 0);
  if (copy(backend, x, y, { sizes, from, to: dense(sizes), fromOffset })) return y;
  backend.disposeData(y.dataId);
  return undefined;
}

function concat(backend: DreamBackend, parts: readonly tf.TensorInfo[], axis: number): tf.TensorInfo | undefined {
  const shape = parts[0].shape.slice();
  shape[axis] = parts.reduce((sum, part) => sum + part.shape[axis], 0);
  const y = backend.output(shape, parts[0].dtype);
  const inner = size(shape.slice(axis + 1));
  const outer = size(shape.slice(0, axis));
  let at = 0;
  for (const part of parts) {
    const width = part.shape[axis] * inner;
    copy(backend, part, y, { sizes: [outer, width], from: [width, 1], to: [shape[axis] * inner, 1], toOffset: at });
    at += width;
  }
  return y;
}

export function transpose(backend: DreamBackend, x: tf.TensorInfo, perm: readonly number[]): tf.TensorInfo | undefined {
  const shape = perm.map((axis) => x.shape[axis]);
  const from = dense(x.shape);
  const y = backend.output(shape, x.dtype);
  if (copy(backend, x, y, { sizes: shape, from: perm.map((axis) => from[axis]), to: dense(shape) })) return y;
  backend.disposeData(y.dataId);
  return undefined;
}

const isWordAll = (parts: readonly tf.TensorInfo[]) => parts.every((part) => isWord(part) && part.dtype === parts[0].dtype);

export const layoutKernels: KernelTable = {
  Slice: (backend, { x }, { begin, size: wanted }) => {
    if (!isWord(x)) return undefined;
    const [start, sizes] = tf.slice_util.parseSliceParams(x as tf.Tensor, begin, wanted);
    tf.slice_util.assertParamsValid(x, start, sizes);
    return slice(backend, x, start, sizes);
  },

  Concat: (backend, inputs, attributes) => {
    const parts = Object.values(inputs);
    const axis = tf.util.parseAxisParam(attributes.axis, parts[0].shape)[0];
    tf.backend_util.assertParamsConsistent(parts.map(({ shape }) => shape), axis);
    return isWordAll(parts) ? concat(backend, parts, axis) : undefined;
  },

  Pack: (backend, inputs, { axis }) => {
    const parts = Object.values(inputs);
    if (!isWordAll(parts) || parts.some((part) => !tf.util.arraysEqual(part.shape, parts[0].shape))) return undefined;
    const at = axis < 0 ? axis + parts[0].shape.length + 1 : axis;
    const shape = [...parts[0].shape.slice(0, at), 1, ...parts[0].shape.slice(at)];
    return concat(backend, parts.map((part) => ({ ...part, dataId: part.dataId, shape })), at);
  },

  Unpack: (backend, { value }, { axis }) => {
    if (!isWord(value)) return undefined;
    const at = axis < 0 ? axis + value.shape.length : axis;
    const shape = value.shape.filter((_, i) => i !== at);
    const sizes = value.shape.map((n, i) => (i === at ? 1 : n));
    return Array.from({ length: value.shape[at] }, (_, i) => ({ ...slice(backend, value, sizes.map((_, a) => (a === at ? i : 0)), sizes)!, shape }));
  },

  SplitV: (backend, { x }, { numOrSizeSplits, axis }) => {
    if (!isWord(x)) return undefined;
    const at = tf.util.parseAxisParam(axis, x.shape)[0];
    const begin = x.shape.map(() => 0);
    return tf.backend_util.prepareSplitSize(x as tf.Tensor, numOrSizeSplits, at).map((width) => {
      const part = slice(backend, x, begin, x.shape.map((n, i) => (i === at ? width : n)))!;
      begin[at] += width;
      return part;
    });
  },

  PadV2: (backend, { x }, { paddings, constantValue }) => {
    if (!isFloat(x)) return undefined;
    const shape = x.shape.map((n, i) => n + paddings[i][0] + paddings[i][1]);
    const y = backend.output(shape);
    fill(backend, y, constantValue);
    const to = dense(shape);
    const toOffset = x.shape.reduce((sum, _, axis) => sum + paddings[axis][0] * to[axis], 0);
    if (copy(backend, x, y, { sizes: x.shape, from: dense(x.shape), to, toOffset })) return y;
    backend.disposeData(y.dataId);
    return undefined;
  },

  Tile: (backend, { x }, { reps }) => {
    if (!isWord(x)) return undefined;
    const from = dense(x.shape);
    const y = backend.output(x.shape.map((n, i) => n * reps[i]), x.dtype);
    const sizes = x.shape.flatMap((n, i) => [reps[i], n]);
    if (copy(backend, x, y, { sizes, from: from.flatMap((step) => [0, step]), to: dense(sizes) })) return y;
    backend.disposeData(y.dataId);
    return undefined;
  },

  Transpose: (backend, { x }, { perm }) => (isWord(x) ? transpose(backend, x, perm) : undefined),

  Fill: (backend, _inputs, { shape, value, dtype }) => {
    const type = dtype ?? tf.util.inferDtype(value);
    if (type !== 'float32' && type !== 'int32' && type !== 'bool') return undefined;
    const y = backend.output(shape, type);
    fill(backend, y, value);
    return y;
  },

  ZerosLike: (backend, { x }) => {
    if (!isWord(x)) return undefined;
    const y = backend.output(x.shape, x.dtype);
    fill(backend, y, 0);
    return y;
  },

  Cast: (backend, { x }, { dtype }) => {
    const numeric = x.dtype === 'float32' || x.dtype === 'int32' || x.dtype === 'bool';
    if (!numeric || dtype === x.dtype || (dtype !== 'float32' && dtype !== 'int32')) return undefined;
    const y = backend.output(x.shape, dtype);
    backend.open(y).set(backend.open(x));
    return y;
  },

  GatherV2: (backend, { x, indices }, { axis, batchDims }) => {
    const at = tf.util.parseAxisParam(axis, x.shape)[0];
    const outer = size(x.shape.slice(0, at));
    if (batchDims || !isWord(x) || indices.dtype !== 'int32' || outer > 64) return undefined;
    const inner = size(x.shape.slice(at + 1));
    const count = size(indices.shape);
    const y = backend.output([...x.shape.slice(0, at), ...indices.shape, ...x.shape.slice(at + 1)], x.dtype);
    for (let o = 0; o < outer; o++) {
      const from = backend.memoryOf(x).subarray(o * x.shape[at] * inner, (o + 1) * x.shape[at] * inner);
      const to = backend.memoryOf(y).subarray(o * count * inner, (o + 1) * count * inner);
      backend.lookUp('gather', [from, backend.memoryOf(indices), to], [count, inner, x.shape[at]], indices, x.shape[at]);
    }
    return y;
  },

  UnsortedSegmentSum: (backend, { x, segmentIds }, { numSegments }) => {
    if (!isFloat(x) || segmentIds.dtype !== 'int32' || segmentIds.shape.length !== 1) return undefined;
    const y = backend.output([numSegments, ...x.shape.slice(1)]);
    backend.run('scatter_add', [backend.floats(x), backend.memoryOf(segmentIds), backend.floats(y)], [x.shape[0], size(x.shape.slice(1)), numSegments]);
    return y;
  },

  DreamEmbedding: (backend, { table, ids }) => {
    const [vocab, dim] = table.shape;
    const y = backend.output([...ids.shape, dim]);
    const packed = backend.packed(table);
    if (packed) {
      const numbers = [size(ids.shape), vocab, dim, packedFormats.indexOf(packed.format)];
      backend.lookUp('packed_rows', [packed.data, packed.scales, backend.memoryOf(ids), backend.floats(y)], numbers, ids, vocab);
      return y;
    }
    backend.lookUp('gather', [backend.floats(table), backend.memoryOf(ids), backend.floats(y)], [size(ids.shape), dim, vocab], ids, vocab);
    return y;
  },
  DreamEmbeddingGrad: (backend, { dy, ids }, { vocab }) => {
    const dim = dy.shape[dy.shape.length - 1];
    const y = backend.output([vocab, dim]);
    backend.run('scatter_add', [backend.floats(dy), backend.memoryOf(ids), backend.floats(y)], [size(ids.shape), dim, vocab]);
    return y;
  },
};
