import * as tf from '@tensorflow/tfjs';
import { activation, addRows, upsampleNearest, type Padding } from '../../core/ops/index.js';
import type { Params } from '../../core/params.js';
import { biasedConv2dSpec, biasedLinearSpec, conv2d, groupNormSilu, linear, normSpec } from '../../nn/index.js';
import { shown } from './observe.js';

/** Groups and epsilon of the group normalisations. */
export interface NormConfig {
  normGroups: number;
  normEps: number;
}

const coreSpec = (inChannels: number, outChannels: number) => ({
  norm1: normSpec(inChannels),
  conv1: biasedConv2dSpec(inChannels, outChannels, 3),
  norm2: normSpec(outChannels),
  conv2: biasedConv2dSpec(outChannels, outChannels, 3),
});

type ResnetSpec = ReturnType<typeof coreSpec> & {
  time_emb_proj?: ReturnType<typeof biasedLinearSpec>;
  conv_shortcut?: ReturnType<typeof biasedConv2dSpec>;
};
export type ResnetParams = Params<ResnetSpec>;

/** `timeDim`: width of the time embedding; without it the block knows no time (autoencoder). */
export function resnetSpec(inChannels: number, outChannels: number, timeDim?: number): ResnetSpec {
  return {
    ...coreSpec(inChannels, outChannels),
    ...(timeDim === undefined ? {} : { time_emb_proj: biasedLinearSpec(timeDim, outChannels) }),
    ...(inChannels === outChannels ? {} : { conv_shortcut: biasedConv2dSpec(inChannels, outChannels, 1) }),
  };
}

const SAME: Padding = [1, 1, 1, 1];

/**
 * A residual block (He et al. 2016, pre-activation). x [images, height, width, in] -> [images, height, width, out].
 * `time` [images, timeDim] is the time embedding after its SiLU, which is the same for all blocks.
 */
export function resnet(p: ResnetParams, x: tf.Tensor4D, { normGroups, normEps }: NormConfig, time?: tf.Tensor2D): tf.Tensor4D {
  let h = conv2d(p.conv1, groupNormSilu(p.norm1, x, normGroups, normEps), { padding: SAME });
  if (p.time_emb_proj && time) h = addRows(h, linear(p.time_emb_proj, time));
  const residual = p.conv_shortcut ? conv2d(p.conv_shortcut, x) : x;
  return shown(p, conv2d(p.conv2, groupNormSilu(p.norm2, h, normGroups, normEps), { padding: SAME, residual }));
}

export const resampleSpec = (channels: number) => ({ conv: biasedConv2dSpec(channels, channels, 3) });
export type ResampleParams = Params<ReturnType<typeof resampleSpec>>;

/** Halves the size. The U-Net pads all sides by one, the autoencoder only right and bottom. */
export function downsample(p: ResampleParams, x: tf.Tensor4D, padding: Padding): tf.Tensor4D {
  return shown(p, conv2d(p.conv, x, { stride: 2, padding }));
}

/** Enlarges to `height`×`width` by nearest neighbours, then convolves. */
export function upsample(p: ResampleParams, x: tf.Tensor4D, height: number, width: number): tf.Tensor4D {
  return shown(p, conv2d(p.conv, upsampleNearest(x, height, width), { padding: SAME }));
}

export const timeEmbeddingSpec = (channels: number, dim: number) => ({
  linear_1: biasedLinearSpec(channels, dim),
  linear_2: biasedLinearSpec(dim, dim),
});

/** [images, channels] sinusoids -> [images, dim] */
export function timeEmbedding(p: Params<ReturnType<typeof timeEmbeddingSpec>>, sinusoids: tf.Tensor2D): tf.Tensor2D {
  return shown(p, linear(p.linear_2, activation(linear(p.linear_1, sinusoids), 'silu')));
}

/**
 * Sinusoids of time steps, [images, channels] (Vaswani et al. 2017, section 3.5, frequencies 10000^(-i / (channels / 2 - shift))).
 * Computed here in float64, because a time step times a frequency loses digits in float32.
 */
export function timestepSinusoids(
  timesteps: ArrayLike<number>,
  channels: number,
  { flipSinToCos, freqShift }: { flipSinToCos: boolean; freqShift: number },
): tf.Tensor2D {
  const half = Math.floor(channels / 2);
  const values = new Float32Array(timesteps.length * channels); // an odd last channel stays 0
  for (let row = 0; row < timesteps.length; row++) {
    for (let i = 0; i < half; i++) {
      const angle = timesteps[row] * Math.exp((-Math.log(10000) * i) / (half - freqShift));
      const [first, second] = flipSinToCos ? [Math.cos(angle), Math.sin(angle)] : [Math.sin(angle), Math.cos(angle)];
      values[row * channels + i] = first;
      values[row * channels + half + i] = second;
    }
  }
  return tf.tensor2d(values, [timesteps.length, channels]);
}
