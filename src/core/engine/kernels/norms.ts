import type * as tf from '@tensorflow/tfjs';
import { needsStatistics } from '../../ops/kernel.js';
import { size, type DreamBackend } from '../dream-backend.js';
import type { Kernel, KernelTable } from './table.js';

/** Room for a norm's statistics, or none where no backward pass will ask for them. */
const statistics = (backend: DreamBackend, count: number, shape: number[]): tf.TensorInfo[] => (needsStatistics() ? Array.from({ length: count }, () => backend.output(shape)) : []);

/** Rows and their length. */
const rowsOf = (shape: readonly number[]): [number, number] => [size(shape.slice(0, -1)), shape[shape.length - 1]];

/** Images, positions, channels, groups, eps, silu. */
const groupNumbers = (shape: readonly number[], groups: number, eps: number, silu: boolean): number[] => [
  shape[0], size(shape.slice(1, -1)), shape[shape.length - 1], groups, eps, silu ? 1 : 0,
];

/** A kernel whose result is like `x`, added to `soFar`, and whose numbers are the rows of `x`. */
const likeInput = (kernel: 'rms_norm_grad_input' | 'layer_norm_grad_input', names: readonly string[]): Kernel => (backend, inputs) => {
  const dx = backend.output(inputs.x.shape);
  backend.run(kernel, [...names.map((name) => backend.floats(inputs[name])), backend.floats(dx), inputs.soFar ? backend.floats(inputs.soFar) : null], rowsOf(inputs.x.shape));
  return dx;
};

export const normKernels: KernelTable = {
  DreamRMSNorm: (backend, { x, weight }, { eps }) => {
    const [rows, dim] = rowsOf(x.shape);
    const y = backend.output(x.shape);
    const made = statistics(backend, 1, [rows]);
    backend.run('rms_norm', [x, weight, y, ...made].map((tensor) => backend.floats(tensor)), [rows, dim, eps]);
    return [y, ...made];
  },
  DreamRMSNormGradInput: likeInput('rms_norm_grad_input', ['x', 'weight', 'rstd', 'dy']),
  DreamRMSNormGradWeight: (backend, { x, rstd, dy }) => {
    const [rows, dim] = rowsOf(x.shape);
    const dweight = backend.output([dim]);
    backend.run('rms_norm_grad_weight', [x, rstd, dy, dweight].map((tensor) => backend.floats(tensor)), [rows, dim]);
    return dweight;
  },

  DreamLayerNorm: (backend, { x, weight, bias }, { eps }) => {
    const [rows, dim] = rowsOf(x.shape);
    const y = backend.output(x.shape);
    const made = statistics(backend, 2, [rows]);
    backend.run('layer_norm', [x, weight, bias, y, ...made].map((tensor) => backend.floats(tensor)), [rows, dim, eps]);
    return [y, ...made];
  },
  DreamLayerNormGradInput: likeInput('layer_norm_grad_input', ['x', 'weight', 'mean', 'rstd', 'dy']),
  DreamLayerNormGradParams: (backend, { x, mean, rstd, dy }) => {
    const [rows, dim] = rowsOf(x.shape);
    const dweight = backend.output([dim]);
    const dbias = backend.output([dim]);
    backend.run('layer_norm_grad_params', [x, mean, rstd, dy, dweight, dbias].map((tensor) => backend.floats(tensor)), [rows, dim]);
    return [dweight, dbias];
  },

  DreamGroupNorm: (backend, { x, weight, bias }, { groups, eps, silu }) => {
    const y = backend.output(x.shape);
    const made = statistics(backend, 2, [x.shape[0], groups]);
    backend.run('group_norm', [x, weight, bias, y, ...made].map((tensor) => backend.floats(tensor)), groupNumbers(x.shape, groups, eps, silu));
    return [y, ...made];
  },
  DreamGroupNormGradInput: (backend, { x, weight, bias, mean, rstd, dy, soFar }, { groups, silu }) => {
    const dx = backend.output(x.shape);
    const tensors = [x, weight, bias, mean, rstd, dy, dx, soFar].map((tensor) => (tensor ? backend.floats(tensor) : null));
    backend.run('group_norm_grad_input', tensors, groupNumbers(x.shape, groups, 0, silu));
    return dx;
  },
  DreamGroupNormGradParams: (backend, { x, weight, bias, mean, rstd, dy }, { groups, silu }) => {
    const dweight = backend.output(weight.shape);
    const dbias = backend.output(weight.shape);
    backend.run(
      'group_norm_grad_params',
      [x, weight, bias, mean, rstd, dy, dweight, dbias].map((tensor) => backend.floats(tensor)),
      groupNumbers(x.shape, groups, 0, silu),
    );
    return [dweight, dbias];
  },
};
