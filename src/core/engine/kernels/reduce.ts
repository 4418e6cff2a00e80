import * as tf from '@tensorflow/tfjs';
import { size, type DreamBackend } from '../dream-backend.js';
import { unary } from './elementwise.js';
import { transpose } from './layout.js';
import { isFloat, type Kernel, type KernelTable } from './table.js';

/** Sum (times `scale(count)`) or maximum over axes. Axes that are no neighbours are moved to the end first. */
function reduce(backend: DreamBackend, x: tf.TensorInfo, axis: number | number[] | null, keepDims: boolean, kernel: 'sum' | 'max', scale: (count: number) => number): tf.TensorInfo {
  const axes = tf.util.parseAxisParam(axis as number[], x.shape).slice().sort((a, b) => a - b);
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const shape = keepDims ? x.shape.map((n, i) => (axes.includes(i) ? 1 : n)) : kept.map((i) => x.shape[i]);
  const y = backend.output(shape);
  const count = size(axes.map((i) => x.shape[i]));
  const neighbours = axes.every((a, i) => i === 0 || a === axes[i - 1] + 1);
  const moved = neighbours ? undefined : transpose(backend, x, [...kept, ...axes]);
  const outer = moved ? size(shape) : size(x.shape.slice(0, axes[0] ?? 0));
  const inner = moved || axes.length === 0 ? 1 : size(x.shape.slice(axes[axes.length - 1] + 1));
  const rows = axes.length === 0 ? size(x.shape) : outer;
  backend.run(kernel, [backend.floats(moved ?? x), backend.floats(y)], [rows, count, inner, scale(count)]);
  if (moved) backend.disposeData(moved.dataId);
  return y;
}

const reduction = (kernel: 'sum' | 'max', scale: (count: number) => number): Kernel => (backend, inputs, attributes) => {
  const x = inputs.x;
  if (!isFloat(x) || x.shape.length > 8) return undefined;
  return reduce(backend, x, attributes.axis ?? attributes.reductionIndices ?? null, attributes.keepDims, kernel, scale);
};

export const reduceKernels: KernelTable = {
  Sum: reduction('sum', () => 1),
  Mean: reduction('sum', (count) => 1 / count),
  Max: reduction('max', () => 1),

  ArgMax: (backend, { x }, { axis }) => {
    const last = x.shape.length - 1;
    if (!isFloat(x) || last < 0 || tf.util.parseAxisParam(axis, x.shape).some((a) => a !== last) || x.shape[last] === 0) return undefined;
    const y = backend.output(x.shape.slice(0, -1), 'int32');
    backend.run('argmax', [backend.floats(x), backend.memoryOf(y)], [size(y.shape), x.shape[last]]);
    return y;
  },

  Softmax: (backend, { logits }, { dim }) => {
    const last = logits.shape.length - 1;
    if (!isFloat(logits) || (dim !== -1 && dim !== last)) return undefined;
    const y = backend.output(logits.shape);
    backend.run('softmax', [backend.floats(logits), backend.floats(y)], [size(logits.shape.slice(0, -1)), logits.shape[last]]);
    return y;
  },

  DreamGlobalNorm: (backend, inputs) => {
    const tensors = Object.values(inputs);
    const squares = backend.output([tensors.length]);
    const sums = backend.floats(squares);
    tensors.forEach((x, i) => backend.run('sum_of_squares', [backend.floats(x), sums.subarray(i, i + 1)], [size(x.shape)]));
    const sum = backend.output([]);
    backend.run('sum', [sums, backend.floats(sum)], [1, tensors.length, 1, 1]);
    const y = unary(backend, sum, 'sqrt');
    for (const { dataId } of [squares, sum]) backend.disposeData(dataId);
    return y;
  },
};
