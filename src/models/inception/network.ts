import * as tf from '@tensorflow/tfjs';
import { conv2d } from '../../core/ops/index.js';
import { ofUnits, type OfUnits, type topLayout, type trunkLayout, type Unit } from './layout.js';

/** A unit whose normalisation is folded into its convolution. */
export type FoldedUnit = { weight: tf.Tensor4D; bias: tf.Tensor1D };
export type TrunkParams = OfUnits<typeof trunkLayout, FoldedUnit>;
export type TopParams = OfUnits<typeof topLayout, FoldedUnit>;

/** A convolution and the batch normalisation after it, as numbers. Without `scale` it is 1. */
export interface UnitValues {
  /** [height, width, in, out] */
  kernel: ArrayLike<number>;
  scale?: ArrayLike<number>;
  shift: ArrayLike<number>;
  mean: ArrayLike<number>;
  variance: ArrayLike<number>;
}

const BATCH_NORM_EPS = 1e-3;

/** scale · (kernel ∗ x - mean) / √(variance + ε) + shift as one convolution with bias. In float64, so that it is the same on every machine. */
export function fold({ kernel, scale, shift, mean, variance }: UnitValues): { weight: Float32Array; bias: Float32Array } {
  const factor = Float64Array.from(shift, (_, c) => (scale ? scale[c] : 1) / Math.sqrt(variance[c] + BATCH_NORM_EPS));
  const weight = new Float32Array(kernel.length); // a loop: `from` with a function takes seconds for the whole network
  for (let i = 0; i < weight.length; ) for (let c = 0; c < factor.length; c++, i++) weight[i] = kernel[i] * factor[c];
  return {
    weight,
    bias: Float32Array.from(factor, (f, c) => shift[c] - mean[c] * f),
  };
}

/** Makes the tensors of a layout from its units' numbers. The caller disposes them. */
export function foldedParams<T extends object>(layout: T, values: (name: string, unit: Unit) => UnitValues): OfUnits<T, FoldedUnit> {
  return ofUnits(layout, (name, unit) => {
    const { weight, bias } = fold(values(name, unit));
    return { weight: tf.tensor4d(weight, unit.kernelShape), bias: tf.tensor1d(bias) };
  });
}

/** Keeps the size. */
function same({ weight, bias }: FoldedUnit, x: tf.Tensor4D): tf.Tensor4D {
  const [height, width] = weight.shape;
  const [y, z] = [(height - 1) / 2, (width - 1) / 2];
  return tf.relu(conv2d(x, weight, bias, { padding: [y, y, z, z] }));
}

const valid = ({ weight, bias }: FoldedUnit, x: tf.Tensor4D, stride = 1): tf.Tensor4D => tf.relu(conv2d(x, weight, bias, { stride }));

const halved = (x: tf.Tensor4D): tf.Tensor4D => tf.maxPool(x, 3, 2, 'valid');

/**
 * The mean over 3×3 neighbours inside the picture, then a 1×1 unit. The means leave padding out, as TensorFlow does and FID's network
 * with it, unlike torchvision. The convolution comes first here: the two commute, and it has fewer channels behind it than before it.
 */
function pooled({ weight, bias }: FoldedUnit, x: tf.Tensor4D): tf.Tensor4D {
  return tf.relu(tf.avgPool(conv2d(x, weight, bias), 3, 1, 'same'));
}

type BlockA = TrunkParams['Mixed_5b'];
const blockA = (p: BlockA, x: tf.Tensor4D): tf.Tensor4D =>
  tf.concat(
    [
      same(p.branch1x1, x),
      same(p.branch5x5_2, same(p.branch5x5_1, x)),
      same(p.branch3x3dbl_3, same(p.branch3x3dbl_2, same(p.branch3x3dbl_1, x))),
      pooled(p.branch_pool, x),
    ],
    3,
  );

const blockB = (p: TrunkParams['Mixed_6a'], x: tf.Tensor4D): tf.Tensor4D =>
  tf.concat([valid(p.branch3x3, x, 2), valid(p.branch3x3dbl_3, same(p.branch3x3dbl_2, same(p.branch3x3dbl_1, x)), 2), halved(x)], 3);

type BlockC = TrunkParams['Mixed_6b'];
const blockC = (p: BlockC, x: tf.Tensor4D): tf.Tensor4D => {
  const twice = [p.branch7x7dbl_1, p.branch7x7dbl_2, p.branch7x7dbl_3, p.branch7x7dbl_4, p.branch7x7dbl_5].reduce((h, layer) => same(layer, h), x);
  return tf.concat([same(p.branch1x1, x), same(p.branch7x7_3, same(p.branch7x7_2, same(p.branch7x7_1, x))), twice, pooled(p.branch_pool, x)], 3);
};

const blockD = (p: TopParams['Mixed_7a'], x: tf.Tensor4D): tf.Tensor4D =>
  tf.concat(
    [
      valid(p.branch3x3_2, same(p.branch3x3_1, x), 2),
      valid(p.branch7x7x3_4, same(p.branch7x7x3_3, same(p.branch7x7x3_2, same(p.branch7x7x3_1, x))), 2),
      halved(x),
    ],
    3,
  );

/** `pool`: the mean as elsewhere, or in FID's last block the maximum (a slip in the original network, kept because FID is defined on it). */
function blockE(p: TopParams['Mixed_7b'], x: tf.Tensor4D, pool: 'mean' | 'max'): tf.Tensor4D {
  const once = same(p.branch3x3_1, x);
  const twice = same(p.branch3x3dbl_2, same(p.branch3x3dbl_1, x));
  return tf.concat(
    [
      same(p.branch1x1, x),
      same(p.branch3x3_2a, once),
      same(p.branch3x3_2b, once),
      same(p.branch3x3dbl_3a, twice),
      same(p.branch3x3dbl_3b, twice),
      pool === 'mean' ? pooled(p.branch_pool, x) : same(p.branch_pool, tf.maxPool(x, 3, 1, 'same')),
    ],
    3,
  );
}

/** The 192 channels behind the second pooling. images [images, height, width, 3] in [-1, 1] */
export function secondPool(p: TrunkParams, images: tf.Tensor4D): tf.Tensor4D {
  const h = halved(same(p.Conv2d_2b_3x3, valid(p.Conv2d_2a_3x3, valid(p.Conv2d_1a_3x3, images, 2))));
  return halved(valid(p.Conv2d_4a_3x3, valid(p.Conv2d_3b_1x1, h)));
}

/** The 768 channels of Mixed_6c, Keras' `mixed5`. */
export function mixed5(p: TrunkParams, images: tf.Tensor4D): tf.Tensor4D {
  const early = [p.Mixed_5b, p.Mixed_5c, p.Mixed_5d].reduce((h, block) => blockA(block as BlockA, h), secondPool(p, images));
  return [p.Mixed_6b, p.Mixed_6c].reduce((h, block) => blockC(block as BlockC, h), blockB(p.Mixed_6a, early));
}

/** The 2048 channels that FID is defined on. */
export function mixed7c(trunk: TrunkParams, top: TopParams, images: tf.Tensor4D): tf.Tensor4D {
  const h = blockC(top.Mixed_6e, blockC(top.Mixed_6d, mixed5(trunk, images)));
  return blockE(top.Mixed_7c, blockE(top.Mixed_7b, blockD(top.Mixed_7a, h), 'mean'), 'max');
}

/** The 768 channels of Mixed_6e, pytorch-fid's 768. */
export const mixed6e = (trunk: TrunkParams, top: TopParams, images: tf.Tensor4D): tf.Tensor4D =>
  blockC(top.Mixed_6e, blockC(top.Mixed_6d, mixed5(trunk, images)));
