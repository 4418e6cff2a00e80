import type * as tf from '@tensorflow/tfjs';
import { packedFormats, size, type DreamBackend, type Packed } from '../dream-backend.js';
import type { Memory } from '../engine.js';
import { isFloat, type KernelTable } from './table.js';
import { unaryOps } from './elementwise.js';

interface Product {
  batch?: number;
  strides?: [a: number, b: number, c: number];
  m: number;
  n: number;
  k: number;
  transposeA?: boolean;
  transposeB?: boolean;
  bias?: Memory | null;
  /** Laid out as c. */
  addend?: Memory | null;
  /** c holds something to which the product is added. */
  accumulate?: boolean;
}

/** c = op(a) op(b) + bias + addend, or c += op(a) op(b), on dense row-major matrices. */
export function gemm(backend: DreamBackend, a: Memory, b: Memory, c: Memory, product: Product): void {
  const { batch = 1, strides = [0, 0, 0], m, n, k, transposeA = false, transposeB = false, bias = null, addend = null, accumulate = false } = product;
  const [sa, sb, sc] = strides;
  backend.run('gemm', [a, b, c, bias, addend], [batch, sa, sb, sc, m, n, k, transposeA ? m : k, transposeB ? k : n, n, +transposeA, +transposeB, +accumulate]);
}

/** The same with a packed matrix [rows, columns] on the right: x […, columns] with its transpose, or x […, rows] with itself. */
function packedProduct(backend: DreamBackend, x: tf.TensorInfo, weight: tf.TensorInfo, { format, data, scales }: Packed, transposed: boolean, bias?: tf.TensorInfo, addend?: tf.TensorInfo): tf.TensorInfo {
  const [rows, columns] = weight.shape;
  const lead = x.shape.slice(0, -1);
  const y = backend.output([...lead, transposed ? rows : columns]);
  backend.run(
    'packed_product',
    [backend.floats(x), data, scales, backend.floats(y), bias ? backend.floats(bias) : null],
    [size(lead), rows, columns, packedFormats.indexOf(format), transposed ? 0 : 1],
  );
  if (addend) addTo(backend, y, addend);
  return y;
}

/** Batched product of [..., m, k] and [..., k, n]; leading axes are equal, or one side has a single matrix. */
function batchMatMul(backend: DreamBackend, a: tf.TensorInfo, b: tf.TensorInfo, transposeA: boolean, transposeB: boolean, bias?: tf.TensorInfo) {
  const rank = a.shape.length;
  const m = a.shape[transposeA ? rank - 1 : rank - 2];
  const k = a.shape[transposeA ? rank - 2 : rank - 1];
  const n = b.shape[transposeB ? b.shape.length - 2 : b.shape.length - 1];
  const kOfB = b.shape[transposeB ? b.shape.length - 1 : b.shape.length - 2];
  if (k !== kOfB) throw new Error(`matMul: expected equal inner sizes, found ${k} of [${a.shape}] and ${kOfB} of [${b.shape}] (transpose ${transposeA}, ${transposeB}).`);
  const leadA = a.shape.slice(0, -2);
  const leadB = b.shape.slice(0, -2);
  const batchA = size(leadA);
  const batchB = size(leadB);
  if (batchA !== 1 && batchB !== 1 && (leadA.length !== leadB.length || leadA.some((n, i) => n !== leadB[i]))) return undefined;
  const lead = batchB === 1 && leadA.length >= leadB.length ? leadA : batchA === 1 && leadB.length >= leadA.length ? leadB : batchA === 1 ? leadA.map((n, i) => Math.max(n, leadB[i - leadA.length + leadB.length] ?? 1)) : leadA;
  const batch = size(lead);
  if (batch !== Math.max(batchA, batchB) && batch !== 0) return undefined;
  const y = backend.output([...lead, m, n]);
  const joined = batchB === 1 && !transposeA; // one matrix of all rows
  gemm(backend, backend.floats(a), backend.floats(b), backend.floats(y), {
    ...(joined ? { m: batch * m } : { batch, strides: [batchA === 1 ? 0 : m * k, batchB === 1 ? 0 : k * n, m * n], m }),
    n, k, transposeA, transposeB, bias: bias ? backend.floats(bias) : null,
  });
  return y;
}

export const matmulKernels: KernelTable = {
  BatchMatMul: (backend, { a, b }, { transposeA, transposeB }) => {
    const packed = backend.packed(b);
    if (packed && !transposeA && size(b.shape.slice(0, -2)) === 1) return packedProduct(backend, a, { ...b, shape: b.shape.slice(-2) }, packed, transposeB);
    return isFloat(a, b) ? batchMatMul(backend, a, b, transposeA, transposeB) : undefined;
  },

  _FusedMatMul: (backend, { a, b, bias, preluActivationWeights }, { transposeA, transposeB, activation }) => {
    const op = activation === 'linear' ? undefined : unaryOps.indexOf(activation);
    const n = b.shape[transposeB ? b.shape.length - 2 : b.shape.length - 1];
    if (!isFloat(a, b) || preluActivationWeights || op === -1 || (bias && (!isFloat(bias) || size(bias.shape) !== n))) return undefined;
    const y = batchMatMul(backend, a, b, transposeA, transposeB, bias);
    if (y && op !== undefined) backend.run('unary', [backend.floats(y), backend.floats(y)], [size(y.shape), op, 0, 0]);
    return y;
  },

  DreamLinear: (backend, { x, weight, bias, residual }) => linear(backend, x, weight, bias, residual),
  DreamLinearGradInput: (backend, { dy, weight, soFar }) => linearGradInput(backend, [{ dy, weight }], soFar),
  DreamLinearGradWeight: (backend, { dy, x }) => {
    const [m, n] = [dy.shape[dy.shape.length - 1], x.shape[x.shape.length - 1]];
    const dweight = backend.output([m, n]);
    gemm(backend, backend.floats(dy), backend.floats(x), backend.floats(dweight), { m, n, k: size(x.shape.slice(0, -1)), transposeA: true });
    return dweight;
  },

  DreamLinears: (backend, inputs, { count }) => parts(count, (i) => linear(backend, inputs.x, inputs[`weight${i}`], inputs[`bias${i}`])),
  DreamLinearsGradInput: (backend, { soFar, ...inputs }) =>
    linearGradInput(backend, Object.keys(inputs).filter((name) => name.startsWith('dy')).map((name) => ({ dy: inputs[name], weight: inputs[`weight${name.slice(2)}`] })), soFar),
};

const parts = <T>(count: number, of: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => of(i));

/** y += x, of one shape. */
function addTo(backend: DreamBackend, y: tf.TensorInfo, x: tf.TensorInfo): void {
  const [sum, count] = [backend.floats(y), size(y.shape)];
  backend.run('binary', [sum, backend.floats(x), sum], [count, 0, 1, count, 1, 1]);
}

function linear(backend: DreamBackend, x: tf.TensorInfo, weight: tf.TensorInfo, bias?: tf.TensorInfo, residual?: tf.TensorInfo): tf.TensorInfo {
  const packed = backend.packed(weight);
  if (packed) return packedProduct(backend, x, weight, packed, true, bias, residual);
  const [n, k] = weight.shape;
  const lead = x.shape.slice(0, -1);
  const y = backend.output([...lead, n]);
  gemm(backend, backend.floats(x), backend.floats(weight), backend.floats(y), {
    m: size(lead), n, k, transposeB: true, bias: bias ? backend.floats(bias) : null, addend: residual ? backend.floats(residual) : null,
  });
  return y;
}

/** Σ dy · weight over the maps of one input, added to `soFar`. */
function linearGradInput(backend: DreamBackend, maps: readonly { dy: tf.TensorInfo; weight: tf.TensorInfo }[], soFar?: tf.TensorInfo): tf.TensorInfo {
  let sum: tf.TensorInfo | undefined;
  for (const { dy, weight } of maps) {
    const packed = backend.packed(weight);
    if (packed) {
      const part: tf.TensorInfo = packedProduct(backend, dy, weight, packed, false, undefined, sum ?? soFar);
      if (sum) backend.disposeData(sum.dataId);
      sum = part;
      continue;
    }
    const [k, n] = weight.shape;
    const lead = dy.shape.slice(0, -1);
    const isFirst = sum === undefined;
    sum ??= backend.output([...lead, n]);
    gemm(backend, backend.floats(dy), backend.floats(weight), backend.floats(sum), {
      m: size(lead), n, k, addend: isFirst && soFar ? backend.floats(soFar) : null, accumulate: !isFirst,
    });
  }
  return sum!;
}
