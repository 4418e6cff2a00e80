import * as tf from '@tensorflow/tfjs';
import { size, type DreamBackend } from '../dream-backend.js';
import { collapse, strides } from './strides.js';
import { isFloat, isWord, type Kernel, type KernelTable } from './table.js';

/** As UNARY_OPS, BINARY_OPS and the activation kinds in native/pointwise.h and native/mathf.h. */
export const unaryOps = ['exp', 'log', 'sqrt', 'rsqrt', 'square', 'neg', 'abs', 'sigmoid', 'tanh', 'relu', 'reciprocal', 'erf', 'clip', 'scale', 'step'];
const binaryOps = ['add', 'sub', 'mul', 'div', 'squaredDifference', 'maximum', 'minimum'];
const activationKinds = ['silu', 'gelu', 'quickGelu'];

export function unary(backend: DreamBackend, x: tf.TensorInfo, op: string, low = 0, high = 0): tf.TensorInfo {
  const y = backend.output(x.shape);
  backend.run('unary', [backend.floats(x), backend.floats(y)], [size(x.shape), unaryOps.indexOf(op), low, high]);
  return y;
}

const unaryKernel = (op: string): Kernel => (backend, { x }) => (isFloat(x) ? unary(backend, x, op) : undefined);

function binary(backend: DreamBackend, a: tf.TensorInfo, b: tf.TensorInfo, op: string): tf.TensorInfo | undefined {
  const shape = tf.backend_util.assertAndGetBroadcastShape(a.shape, b.shape);
  const view = collapse(shape, strides(a.shape, shape), strides(b.shape, shape));
  if (view.sizes.length > 8) return undefined;
  const y = backend.output(shape);
  backend.run('binary', [backend.floats(a), backend.floats(b), backend.floats(y)], [size(shape), binaryOps.indexOf(op), view.sizes.length, ...view.sizes, ...view.x, ...view.y]);
  return y;
}

const binaryKernel = (op: string): Kernel => (backend, { a, b }) => (isFloat(a, b) ? binary(backend, a, b, op) : undefined);

/** Kinds of activation and where gate and value stand in rows of `step`. */
function gatedNumbers(shape: number[], kind: string, split?: string): number[] {
  const width = shape[shape.length - 1];
  const dim = split ? width / 2 : width;
  const [gateAt, valueAt] = split === 'gate-value' ? [0, dim] : split === 'value-gate' ? [dim, 0] : [0, 0];
  return [size(shape.slice(0, -1)), dim, width, activationKinds.indexOf(kind), gateAt, valueAt];
}

export const elementwiseKernels: KernelTable = {
  Exp: unaryKernel('exp'),
  Log: unaryKernel('log'),
  Sqrt: unaryKernel('sqrt'),
  Rsqrt: unaryKernel('rsqrt'),
  Square: unaryKernel('square'),
  Neg: unaryKernel('neg'),
  Abs: unaryKernel('abs'),
  Sigmoid: unaryKernel('sigmoid'),
  Tanh: unaryKernel('tanh'),
  Relu: unaryKernel('relu'),
  Reciprocal: unaryKernel('reciprocal'),
  Erf: unaryKernel('erf'),
  ClipByValue: (backend, { x }, { clipValueMin, clipValueMax }) => (isFloat(x) ? unary(backend, x, 'clip', clipValueMin, clipValueMax) : undefined),
  Step: (backend, { x }, { alpha }) => (isFloat(x) ? unary(backend, x, 'step', alpha) : undefined),

  Add: binaryKernel('add'),
  Sub: binaryKernel('sub'),
  Multiply: binaryKernel('mul'),
  RealDiv: binaryKernel('div'),
  SquaredDifference: binaryKernel('squaredDifference'),
  Maximum: binaryKernel('maximum'),
  Minimum: binaryKernel('minimum'),

  AddN: (backend, inputs) => {
    const all = Object.values(inputs);
    if (!isFloat(...all)) return undefined;
    const count = size(all[0].shape);
    const y = backend.output(all[0].shape);
    const sum = backend.floats(y);
    if (all.length === 1) backend.run('move', [backend.floats(all[0]), sum], [4 * count]);
    else for (let i = 1; i < all.length; i++) backend.run('binary', [i === 1 ? backend.floats(all[0]) : sum, backend.floats(all[i]), sum], [count, 0, 1, count, 1, 1]);
    return y;
  },

  Select: (backend, { condition, t, e }) => {
    if (!isWord(t) || t.dtype !== e.dtype || size(condition.shape) !== size(t.shape) || size(t.shape) !== size(e.shape)) return undefined;
    const y = backend.output(t.shape, t.dtype);
    backend.run('select', [backend.memoryOf(condition), backend.memoryOf(t), backend.memoryOf(e), backend.memoryOf(y)], [size(t.shape)]);
    return y;
  },

  DreamActivation: (backend, { x }, { kind }) => {
    const y = backend.output(x.shape);
    backend.run('activation', [backend.floats(x), backend.floats(y)], [size(x.shape), activationKinds.indexOf(kind)]);
    return y;
  },
  DreamActivationGrad: (backend, { x, dy }, { kind }) => {
    const dx = backend.output(x.shape);
    backend.run('activation_grad', [backend.floats(x), backend.floats(dy), backend.floats(dx)], [size(x.shape), activationKinds.indexOf(kind)]);
    return dx;
  },
  DreamGated: (backend, { gate, value }, { kind }) => {
    const y = backend.output(gate.shape);
    backend.run('gated', [backend.floats(gate), backend.floats(value), backend.floats(y)], gatedNumbers(gate.shape, kind));
    return y;
  },
  DreamGatedGrad: (backend, { gate, value, dy }, { kind }) => {
    const dgate = backend.output(gate.shape);
    const dvalue = backend.output(value.shape);
    const tensors = [gate, value, dy, dgate, dvalue].map((tensor) => backend.floats(tensor));
    backend.run('gated_grad', tensors, gatedNumbers(gate.shape, kind));
    return [dgate, dvalue];
  },
  DreamGatedSplit: (backend, { x }, { kind, order }) => {
    const numbers = gatedNumbers(x.shape, kind, order);
    const y = backend.output([...x.shape.slice(0, -1), numbers[1]]);
    backend.run('gated', [backend.floats(x), backend.floats(x), backend.floats(y)], numbers);
    return y;
  },
  DreamGatedSplitGrad: (backend, { x, dy }, { kind, order }) => {
    const dx = backend.output(x.shape);
    const [from, to] = [backend.floats(x), backend.floats(dx)];
    backend.run('gated_grad', [from, from, backend.floats(dy), to, to], gatedNumbers(x.shape, kind, order));
    return dx;
  },
  DreamAddRows: (backend, { x, rows }) => {
    const [images, height, width, channels] = x.shape;
    const y = backend.output(x.shape);
    const numbers = [size(x.shape), 0, 3, images, height * width, channels, height * width * channels, channels, 1, channels, 0, 1];
    backend.run('binary', [backend.floats(x), backend.floats(rows), backend.floats(y)], numbers);
    return y;
  },
};
