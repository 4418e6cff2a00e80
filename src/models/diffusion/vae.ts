import * as tf from '@tensorflow/tfjs';
import { attention, type Padding } from '../../core/ops/index.js';
import type { Params } from '../../core/params.js';
import { shapes } from '../../core/shapes.js';
import { biasedConv2dSpec, biasedLinearSpec, conv2d, groupNorm, groupNormSilu, linear, normSpec } from '../../nn/index.js';
import { reader, type HuggingFaceJson } from './config.js';
import { shown, shownApart } from './observe.js';
import { downsample, resampleSpec, resnet, resnetSpec, upsample } from './resnet.js';

/** The autoencoder of Stable Diffusion (`AutoencoderKL` of diffusers): pictures to a diagonal Gaussian over latents and back. */
export interface VaeConfig {
  inChannels: number;
  outChannels: number;
  latentChannels: number;
  /** An entry a level, from the largest to the smallest. Each level but the last halves the size. */
  blockOutChannels: readonly number[];
  layersPerBlock: number;
  normGroups: number;
  /** Diffusion works on latents times this, which gives them about unit deviation. */
  scalingFactor: number;
}

/** stabilityai/stable-diffusion-2-1-base */
export const stableDiffusionVae: VaeConfig = {
  inChannels: 3,
  outChannels: 3,
  latentChannels: 4,
  blockOutChannels: [128, 256, 512, 512],
  layersPerBlock: 2,
  normGroups: 32,
  scalingFactor: 0.18215,
};

/** Reads the autoencoder's `config.json`. Settings that would change the network and are not supported are refused by name. */
export function vaeConfig(json: HuggingFaceJson): VaeConfig {
  const read = reader(json, 'vae/config.json');
  read.only('_class_name', 'AutoencoderKL');
  read.only('act_fn', 'silu');
  read.only('latents_mean', null);
  read.only('latents_std', null);
  const blockOutChannels = read.numbers('block_out_channels');
  read.choices('down_block_types', ['DownEncoderBlock2D'], blockOutChannels.length);
  read.choices('up_block_types', ['UpDecoderBlock2D'], blockOutChannels.length);
  return {
    inChannels: read.number('in_channels', 3),
    outChannels: read.number('out_channels', 3),
    latentChannels: read.number('latent_channels', 4),
    blockOutChannels,
    layersPerBlock: read.number('layers_per_block', 1),
    normGroups: read.number('norm_num_groups', 32),
    scalingFactor: read.number('scaling_factor', 0.18215),
  };
}

const attentionSpec = (channels: number) => ({
  group_norm: normSpec(channels),
  to_q: biasedLinearSpec(channels, channels),
  to_k: biasedLinearSpec(channels, channels),
  to_v: biasedLinearSpec(channels, channels),
  to_out: [biasedLinearSpec(channels, channels)],
});

const midBlockSpec = (channels: number) => ({
  attentions: [attentionSpec(channels)],
  resnets: [resnetSpec(channels, channels), resnetSpec(channels, channels)],
});

const encoderSpec = ({ inChannels, latentChannels, blockOutChannels, layersPerBlock }: VaeConfig) => {
  const last = blockOutChannels[blockOutChannels.length - 1];
  return {
    conv_in: biasedConv2dSpec(inChannels, blockOutChannels[0], 3),
    down_blocks: blockOutChannels.map((channels, level) => ({
      resnets: Array.from({ length: layersPerBlock }, (_, i) => resnetSpec(i === 0 ? blockOutChannels[Math.max(level - 1, 0)] : channels, channels)),
      downsamplers: level < blockOutChannels.length - 1 ? [resampleSpec(channels)] : [],
    })),
    mid_block: midBlockSpec(last),
    conv_norm_out: normSpec(last),
    conv_out: biasedConv2dSpec(last, 2 * latentChannels, 3),
  };
};

const decoderSpec = ({ outChannels, latentChannels, blockOutChannels, layersPerBlock }: VaeConfig) => {
  const channels = [...blockOutChannels].reverse();
  return {
    conv_in: biasedConv2dSpec(latentChannels, channels[0], 3),
    mid_block: midBlockSpec(channels[0]),
    up_blocks: channels.map((own, position) => ({
      resnets: Array.from({ length: layersPerBlock + 1 }, (_, i) => resnetSpec(i === 0 ? channels[Math.max(position - 1, 0)] : own, own)),
      upsamplers: position < channels.length - 1 ? [resampleSpec(own)] : [],
    })),
    conv_norm_out: normSpec(blockOutChannels[0]),
    conv_out: biasedConv2dSpec(blockOutChannels[0], outChannels, 3),
  };
};

export const vaeSpec = (config: VaeConfig) => ({
  encoder: encoderSpec(config),
  decoder: decoderSpec(config),
  quant_conv: biasedConv2dSpec(2 * config.latentChannels, 2 * config.latentChannels, 1),
  post_quant_conv: biasedConv2dSpec(config.latentChannels, config.latentChannels, 1),
});
export type VaeParams = Params<ReturnType<typeof vaeSpec>>;

const legacyNames: Record<string, string> = { query: 'to_q', key: 'to_k', value: 'to_v', proj_attn: 'to_out.0' };

/** The parameter that a key of an autoencoder's file stands for: the published files of Stable Diffusion 2.1 name attention as older versions of diffusers did. */
export const currentVaeKey = (key: string): string => key.replace(/(?<=attentions\.\d+\.)(query|key|value|proj_attn)(?=\.)/, (old) => legacyNames[old]);

const NORM_EPS = 1e-6; // fixed in diffusers
const SAME: Padding = [1, 1, 1, 1];
const RIGHT_AND_BOTTOM: Padding = [0, 1, 0, 1];
const norms = ({ normGroups }: VaeConfig) => ({ normGroups, normEps: NORM_EPS });

/** A Gaussian over latents, [images, height, width, latentChannels] each. Not scaled. */
export type Posterior = {
  mean: tf.Tensor4D;
  /** Within [-30, 20]. */
  logvar: tf.Tensor4D;
};

/** images [images, height, width, channels] in [-1, 1] -> latents 2^(levels - 1) times smaller. Both tensors are the caller's. */
export function encode(p: VaeParams, images: tf.Tensor4D, config: VaeConfig): Posterior {
  shapes({ images: [images, `images height width ${config.inChannels}`] });
  return tf.tidy(() => {
    const moments = shown(p.quant_conv, conv2d(p.quant_conv, encoder(p.encoder, images, config)));
    const [mean, logvar] = tf.split(moments, 2, 3) as tf.Tensor4D[];
    return { mean, logvar: tf.clipByValue(logvar, -30, 20) };
  });
}

/** latents, not scaled -> images [images, height, width, channels], about [-1, 1], not clamped. */
export function decode(p: VaeParams, latents: tf.Tensor4D, config: VaeConfig): tf.Tensor4D {
  shapes({ latents: [latents, `images height width ${config.latentChannels}`] });
  return tf.tidy(() => decoder(p.decoder, shown(p.post_quant_conv, conv2d(p.post_quant_conv, latents)), config));
}

function encoder(p: VaeParams['encoder'], images: tf.Tensor4D, config: VaeConfig): tf.Tensor4D {
  let x = shown(p.conv_in, conv2d(p.conv_in, images, { padding: SAME }));
  for (const block of p.down_blocks) {
    for (const layer of block.resnets) x = resnet(layer, x, norms(config));
    for (const layer of block.downsamplers) x = downsample(layer, x, RIGHT_AND_BOTTOM);
    shown(block, x);
  }
  return shown(p, head(p, middle(p.mid_block, x, config), config));
}

function decoder(p: VaeParams['decoder'], latents: tf.Tensor4D, config: VaeConfig): tf.Tensor4D {
  let x = shown(p.conv_in, conv2d(p.conv_in, latents, { padding: SAME }));
  x = middle(p.mid_block, x, config);
  for (const block of p.up_blocks) {
    for (const layer of block.resnets) x = resnet(layer, x, norms(config));
    for (const layer of block.upsamplers) x = upsample(layer, x, 2 * x.shape[1], 2 * x.shape[2]);
    shown(block, x);
  }
  return shown(p, head(p, x, config));
}

function head(p: Pick<VaeParams['encoder'], 'conv_norm_out' | 'conv_out'>, x: tf.Tensor4D, { normGroups }: VaeConfig): tf.Tensor4D {
  shownApart(p.conv_norm_out, () => groupNorm(p.conv_norm_out, x, normGroups, NORM_EPS));
  return shown(p.conv_out, conv2d(p.conv_out, groupNormSilu(p.conv_norm_out, x, normGroups, NORM_EPS), { padding: SAME }));
}

function middle(p: VaeParams['encoder']['mid_block'], x: tf.Tensor4D, config: VaeConfig): tf.Tensor4D {
  const [before, after] = p.resnets;
  const mixed = selfAttention(p.attentions[0], resnet(before, x, norms(config)), config);
  return shown(p, resnet(after, mixed, norms(config)));
}

/** Single-headed attention over all positions. */
function selfAttention(p: Params<ReturnType<typeof attentionSpec>>, x: tf.Tensor4D, { normGroups }: VaeConfig): tf.Tensor4D {
  const [images, height, width, channels] = x.shape;
  const h: tf.Tensor3D = groupNorm(p.group_norm, x, normGroups, NORM_EPS).reshape([images, height * width, channels]);
  const mixed = attention(linear(p.to_q, h), linear(p.to_k, h), linear(p.to_v, h), { numHeads: 1 });
  return shown(p, linear(p.to_out[0], mixed).reshape<tf.Tensor4D>(x.shape).add<tf.Tensor4D>(x));
}

/** Latents for diffusion: a draw from the posterior, scaled. `noise` from N(0, 1) in the shape of the mean; without it the mean itself. */
export function drawLatents({ mean, logvar }: Posterior, config: VaeConfig, noise?: tf.Tensor4D): tf.Tensor4D {
  return tf.tidy(() => (noise ? mean.add<tf.Tensor4D>(logvar.mul(0.5).exp().mul(noise)) : mean).mul<tf.Tensor4D>(config.scalingFactor));
}

/** Pictures of scaled latents, as sampling ends. */
export function decodeLatents(p: VaeParams, latents: tf.Tensor4D, config: VaeConfig): tf.Tensor4D {
  return tf.tidy(() => decode(p, latents.div(config.scalingFactor), config));
}

/** Kullback-Leibler divergence from N(0, 1), summed over an image's latents. [images] */
export function divergence({ mean, logvar }: Posterior): tf.Tensor1D {
  return tf.tidy(() => mean.square().add(logvar.exp()).sub(1).sub(logvar).sum<tf.Tensor1D>([1, 2, 3]).mul(0.5));
}
