import type * as tf from '@tensorflow/tfjs';
import * as ops from '../core/ops/index.js';
import { param, uniform, type Init, type Params } from '../core/params.js';

/** A linear map without bias. Default initialisation: PyTorch's, uniform within ±1/√in. */
export const linearSpec = (inSize: number, outSize: number, init: Init = uniform(1 / Math.sqrt(inSize))) => ({
  weight: param<tf.Rank.R2>([outSize, inSize], init),
});

/** A linear map with bias. */
export const biasedLinearSpec = (inSize: number, outSize: number, init: Init = uniform(1 / Math.sqrt(inSize)), biasInit: Init = uniform(1 / Math.sqrt(inSize))) => ({
  ...linearSpec(inSize, outSize, init),
  bias: param<tf.Rank.R1>([outSize], biasInit),
});

export type LinearParams = Params<ReturnType<typeof linearSpec>> & { bias?: tf.Variable<tf.Rank.R1> };

/** x […, in] -> […, out]; a residual, like the result, is added to it. */
export const linear = <T extends tf.Tensor>(p: LinearParams, x: T, residual?: T): T => ops.linear(x, p.weight, p.bias, residual);
