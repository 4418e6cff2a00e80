import type * as tf from '@tensorflow/tfjs';
import * as ops from '../core/ops/index.js';
import { constant, param, type Params } from '../core/params.js';

export const rmsNormSpec = (dim: number) => ({ weight: param<tf.Rank.R1>([dim], constant(1)) });
export type RmsNormParams = Params<ReturnType<typeof rmsNormSpec>>;

/** x […, dim] -> like x */
export const rmsNorm = <T extends tf.Tensor>(p: RmsNormParams, x: T, eps: number): T => ops.rmsNorm(x, p.weight, eps);

/** Weight and bias of a layer or group normalisation. */
export const normSpec = (dim: number) => ({ weight: param<tf.Rank.R1>([dim], constant(1)), bias: param<tf.Rank.R1>([dim], constant(0)) });
export type NormParams = Params<ReturnType<typeof normSpec>>;

/** x […, dim] -> like x */
export const layerNorm = <T extends tf.Tensor>(p: NormParams, x: T, eps: number): T => ops.layerNorm(x, p.weight, p.bias, eps);

/** x [images, …, channels] -> like x */
export const groupNorm = <T extends tf.Tensor>(p: NormParams, x: T, groups: number, eps: number): T => ops.groupNorm(x, p.weight, p.bias, groups, eps);

/** Group normalisation and SiLU in one operation. */
export const groupNormSilu = <T extends tf.Tensor>(p: NormParams, x: T, groups: number, eps: number): T => ops.groupNorm(x, p.weight, p.bias, groups, eps, true);
