import * as tf from '@tensorflow/tfjs';
import { adding, asRows, defineGradient, defineKernel, run, rowCount, shapeError, shared } from './kernel.js';

/** Root-mean-square normalisation (Zhang and Sennrich 2019): `x / sqrt(mean(x²) + eps) · weight` over the last axis. */
export function rmsNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor, eps: number): T {
  if (weight.rank !== 1 || weight.shape[0] !== x.shape[x.rank - 1]) shapeError('rmsNorm', 'x […, dim] and weight [dim]', { x, weight });
  return first(run('DreamRMSNorm', { x, weight }, { eps })) as T;
}

/** The first output. The statistics beside it are saved for the backward pass by tfjs where one will come. */
function first(outputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
  const [y, ...statistics] = outputs as tf.Tensor[];
  tf.dispose(statistics);
  return y;
}

/** One number a row as a column. */
const column = (statistic: tf.Tensor) => statistic.reshape([statistic.size, 1]);

defineKernel('DreamRMSNorm', ({ x, weight }, { eps }) => {
  const rows = asRows(x);
  const rstd = rows.square().mean(1).add(eps).rsqrt();
  return [rows.mul(column(rstd)).mul(weight).reshape(x.shape), rstd];
});

defineGradient('DreamRMSNorm', { inputs: ['x', 'weight'], outputs: [false, true] }, (dy, [x, weight, rstd]) => ({
  x: adding((soFar) => run('DreamRMSNormGradInput', { x, weight, rstd, dy, soFar }) as tf.Tensor),
  weight: () => run('DreamRMSNormGradWeight', { x, rstd, dy }) as tf.Tensor,
}));

/** A gradient and, if there is one, the sum it is added to. */
const plus = (gradient: tf.Tensor, soFar: tf.Tensor | undefined): tf.Tensor => (soFar ? soFar.add(gradient) : gradient);

defineKernel('DreamRMSNormGradInput', ({ x, weight, rstd, dy, soFar }) => {
  const normed = asRows(x).mul(column(rstd));
  const g = asRows(dy).mul(weight);
  return plus(g.sub(normed.mul(g.mul(normed).mean(1, true))).mul(column(rstd)).reshape(x.shape), soFar);
});

defineKernel('DreamRMSNormGradWeight', ({ x, rstd, dy }) => asRows(x).mul(column(rstd)).mul(asRows(dy)).sum(0));

/** Layer normalisation (Ba et al. 2016) over the last axis. x […, dim], weight [dim], bias [dim] -> like x. */
export function layerNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor, bias: tf.Tensor, eps: number): T {
  const dim = x.shape[x.rank - 1];
  if (weight.rank !== 1 || weight.shape[0] !== dim || bias.rank !== 1 || bias.shape[0] !== dim) {
    shapeError('layerNorm', 'x […, dim], weight [dim] and bias [dim]', { x, weight, bias });
  }
  return first(run('DreamLayerNorm', { x, weight, bias }, { eps })) as T;
}

defineKernel('DreamLayerNorm', ({ x, weight, bias }, { eps }) => {
  const rows = asRows(x);
  const mean = rows.mean(1);
  const centred = rows.sub(column(mean));
  const rstd = centred.square().mean(1).add(eps).rsqrt();
  return [centred.mul(column(rstd)).mul(weight).add(bias).reshape(x.shape), mean, rstd];
});

defineGradient('DreamLayerNorm', { inputs: ['x', 'weight'], outputs: [false, true, true] }, (dy, [x, weight, mean, rstd]) => ({
  x: adding((soFar) => run('DreamLayerNormGradInput', { x, weight, mean, rstd, dy, soFar }) as tf.Tensor),
  ...shared(['weight', 'bias'], () => run('DreamLayerNormGradParams', { x, mean, rstd, dy }) as tf.Tensor[]),
}));

defineKernel('DreamLayerNormGradInput', ({ x, weight, mean, rstd, dy, soFar }) => {
  const normed = asRows(x).sub(column(mean)).mul(column(rstd));
  const g = asRows(dy).mul(weight);
  return plus(g.sub(g.mean(1, true)).sub(normed.mul(g.mul(normed).mean(1, true))).mul(column(rstd)).reshape(x.shape), soFar);
});

defineKernel('DreamLayerNormGradParams', ({ x, mean, rstd, dy }) => {
  const normed = asRows(x).sub(column(mean)).mul(column(rstd));
  return [asRows(dy).mul(normed).sum(0), asRows(dy).sum(0)];
});

/**
 * Group normalisation (Wu and He 2018), followed by SiLU if `silu`. x [images, …, channels], weight [channels], bias [channels] -> like x.
 * Mean and variance run over all positions and the channels of one group.
 */
export function groupNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor, bias: tf.Tensor, groups: number, eps: number, silu = false): T {
  const channels = x.shape[x.rank - 1];
  if (x.rank < 3 || weight.rank !== 1 || weight.shape[0] !== channels || bias.rank !== 1 || bias.shape[0] !== channels) {
    shapeError('groupNorm', 'x [images, …, channels], weight [channels] and bias [channels]', { x, weight, bias });
  }
  if (channels % groups !== 0) throw new Error(`groupNorm: expected channels that divide into ${groups} groups, found ${channels}.`);
  return first(run('DreamGroupNorm', { x, weight, bias }, { groups, eps, silu })) as T;
}

/** [images, …, channels] -> [images, positions, groups, channels of a group] */
const byGroup = (x: tf.Tensor, groups: number): tf.Tensor4D => {
  const channels = x.shape[x.rank - 1];
  return x.reshape([x.shape[0], rowCount(x) / x.shape[0], groups, channels / groups]);
};

/** One number an image and group, to broadcast over `byGroup`. */
const perGroup = (statistic: tf.Tensor2D) => statistic.reshape([statistic.shape[0], 1, statistic.shape[1], 1]);

defineKernel('DreamGroupNorm', ({ x, weight, bias }, { groups, eps, silu }) => {
  const grouped = byGroup(x, groups);
  const mean: tf.Tensor2D = grouped.mean([1, 3]);
  const centred = grouped.sub(perGroup(mean));
  const rstd = centred.square().mean<tf.Tensor2D>([1, 3]).add<tf.Tensor2D>(eps).rsqrt();
  const affine = centred.mul(perGroup(rstd)).reshape(x.shape).mul(weight).add(bias);
  return [silu ? affine.mul(affine.sigmoid()) : affine, mean, rstd];
});

defineGradient('DreamGroupNorm', { inputs: ['x', 'weight', 'bias'], outputs: [false, true, true] }, (dy, [x, weight, bias, mean, rstd], attributes) => {
  const inputs = { x, weight, bias, mean, rstd, dy };
  return {
    x: adding((soFar) => run('DreamGroupNormGradInput', { ...inputs, soFar }, attributes) as tf.Tensor),
    ...shared(['weight', 'bias'], () => run('DreamGroupNormGradParams', inputs, attributes) as tf.Tensor[]),
  };
});

/** The normalised input and the gradient at the affine output, before SiLU. Both like x. */
function throughSilu({ x, weight, bias, mean, rstd, dy }: any, groups: number, silu: boolean) {
  const normed = byGroup(x, groups).sub(perGroup(mean)).mul(perGroup(rstd)).reshape(x.shape);
  if (!silu) return { normed, dAffine: dy };
  const affine = normed.mul(weight).add(bias);
  const s = affine.sigmoid();
  return { normed, dAffine: dy.mul(s.add(affine.mul(s).mul(tf.sub(1, s)))) };
}

defineKernel('DreamGroupNormGradInput', (inputs, { groups, silu }) => {
  const { normed, dAffine } = throughSilu(inputs, groups, silu);
  const g = byGroup(dAffine.mul(inputs.weight), groups);
  const n = byGroup(normed, groups);
  const dx = g.sub(g.mean([1, 3], true)).sub(n.mul(g.mul(n).mean([1, 3], true))).mul(perGroup(inputs.rstd));
  return plus(dx.reshape(inputs.x.shape), inputs.soFar);
});

defineKernel('DreamGroupNormGradParams', (inputs, { groups, silu }) => {
  const { normed, dAffine } = throughSilu(inputs, groups, silu);
  return [asRows(dAffine.mul(normed)).sum(0), asRows(dAffine).sum(0)];
});
