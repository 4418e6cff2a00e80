import type * as tf from '@tensorflow/tfjs';
import * as ops from '../core/ops/index.js';
import { param, uniform, type Params } from '../core/params.js';

/** A square convolution without bias; PyTorch's initialisation. */
export const conv2dSpec = (inChannels: number, outChannels: number, kernel: number) => ({
  weight: param<tf.Rank.R4>([kernel, kernel, inChannels, outChannels], uniform(1 / Math.sqrt(inChannels * kernel * kernel)), 'conv'),
});

export const biasedConv2dSpec = (inChannels: number, outChannels: number, kernel: number) => ({
  ...conv2dSpec(inChannels, outChannels, kernel),
  bias: param<tf.Rank.R1>([outChannels], uniform(1 / Math.sqrt(inChannels * kernel * kernel))),
});

export type Conv2dParams = Params<ReturnType<typeof conv2dSpec>> & { bias?: tf.Variable<tf.Rank.R1> };

/** x [images, height, width, in] -> [images, …, …, out] */
export const conv2d = (p: Conv2dParams, x: tf.Tensor4D, options: ops.ConvOptions = {}): tf.Tensor4D => ops.conv2d(x, p.weight, p.bias, options);
