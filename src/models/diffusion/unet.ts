import * as tf from '@tensorflow/tfjs';
import { activation } from '../../core/ops/index.js';
import type { Params } from '../../core/params.js';
import { shapes } from '../../core/shapes.js';
import { biasedConv2dSpec, conv2d, groupNorm, groupNormSilu, normSpec } from '../../nn/index.js';
import { reader, type HuggingFaceJson } from './config.js';
import { shown, shownApart } from './observe.js';
import { downsample, resampleSpec, resnet, resnetSpec, timeEmbedding, timeEmbeddingSpec, timestepSinusoids, upsample } from './resnet.js';
import { transformer, transformerSpec, type TransformerParams } from './transformer.js';

/** A U-Net of Stable Diffusion 2.x's family (`UNet2DConditionModel` of diffusers). Lists have an entry a level, from the largest to the smallest. */
export interface UNetConfig {
  inChannels: number;
  outChannels: number;
  blockOutChannels: readonly number[];
  layersPerBlock: number;
  downBlockTypes: readonly ('DownBlock2D' | 'CrossAttnDownBlock2D')[];
  /** From the smallest level to the largest. */
  upBlockTypes: readonly ('UpBlock2D' | 'CrossAttnUpBlock2D')[];
  /** The file's `attention_head_dim`, which in spite of its name holds the number of heads. */
  numHeads: readonly number[];
  crossAttentionDim: number;
  linearProjection: boolean;
  normGroups: number;
  normEps: number;
  /** Cosines before sines in the time embedding. */
  flipSinToCos: boolean;
  freqShift: number;
}

/** stabilityai/stable-diffusion-2-1-base */
export const stableDiffusionUNet: UNetConfig = {
  inChannels: 4,
  outChannels: 4,
  blockOutChannels: [320, 640, 1280, 1280],
  layersPerBlock: 2,
  downBlockTypes: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
  upBlockTypes: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
  numHeads: [5, 10, 20, 20],
  crossAttentionDim: 1024,
  linearProjection: true,
  normGroups: 32,
  normEps: 1e-5,
  flipSinToCos: true,
  freqShift: 0,
};

/** Reads the U-Net's `config.json`. Settings that would change the network and are not supported are refused by name. */
export function unetConfig(json: HuggingFaceJson): UNetConfig {
  const read = reader(json, 'unet/config.json');
  const unsupported: [key: string, value: string | number | boolean | null][] = [
    ['_class_name', 'UNet2DConditionModel'],
    ['act_fn', 'silu'],
    ['addition_embed_type', null],
    ['attention_type', 'default'],
    ['center_input_sample', false],
    ['class_embed_type', null],
    ['conv_in_kernel', 3],
    ['conv_out_kernel', 3],
    ['cross_attention_norm', null],
    ['downsample_padding', 1],
    ['dropout', 0],
    ['dual_cross_attention', false],
    ['encoder_hid_dim', null],
    ['encoder_hid_dim_type', null],
    ['mid_block_only_cross_attention', null],
    ['mid_block_scale_factor', 1],
    ['mid_block_type', 'UNetMidBlock2DCrossAttn'],
    ['num_attention_heads', null],
    ['num_class_embeds', null],
    ['only_cross_attention', false],
    ['resnet_out_scale_factor', 1],
    ['resnet_skip_time_act', false],
    ['resnet_time_scale_shift', 'default'],
    ['reverse_transformer_layers_per_block', null],
    ['time_cond_proj_dim', null],
    ['time_embedding_act_fn', null],
    ['time_embedding_dim', null],
    ['time_embedding_type', 'positional'],
    ['timestep_post_act', null],
    ['transformer_layers_per_block', 1],
  ];
  for (const [key, value] of unsupported) read.only(key, value);
  const blockOutChannels = read.numbers('block_out_channels');
  const levels = blockOutChannels.length;
  return {
    inChannels: read.number('in_channels', 4),
    outChannels: read.number('out_channels', 4),
    blockOutChannels,
    layersPerBlock: read.number('layers_per_block', 2),
    downBlockTypes: read.choices('down_block_types', ['DownBlock2D', 'CrossAttnDownBlock2D'], levels),
    upBlockTypes: read.choices('up_block_types', ['UpBlock2D', 'CrossAttnUpBlock2D'], levels),
    numHeads: read.perLevel('attention_head_dim', levels),
    crossAttentionDim: read.number('cross_attention_dim', 1280),
    linearProjection: read.flag('use_linear_projection', false),
    normGroups: read.number('norm_num_groups', 32),
    normEps: read.number('norm_eps', 1e-5),
    flipSinToCos: read.flag('flip_sin_to_cos', true),
    freqShift: read.number('freq_shift', 0),
  };
}

const timeDim = ({ blockOutChannels }: UNetConfig) => 4 * blockOutChannels[0];

/** `count` transformers where the block's type has attention, none elsewhere. */
const attentionsSpec = (type: string, count: number, channels: number, { crossAttentionDim, linearProjection }: UNetConfig) =>
  Array.from({ length: type.startsWith('CrossAttn') ? count : 0 }, () => transformerSpec(channels, crossAttentionDim, linearProjection));

const downBlockSpec = (level: number, config: UNetConfig) => {
  const { blockOutChannels: channels, layersPerBlock, downBlockTypes } = config;
  const inChannels = channels[Math.max(level - 1, 0)];
  return {
    attentions: attentionsSpec(downBlockTypes[level], layersPerBlock, channels[level], config),
    resnets: Array.from({ length: layersPerBlock }, (_, i) => resnetSpec(i === 0 ? inChannels : channels[level], channels[level], timeDim(config))),
    downsamplers: level < channels.length - 1 ? [resampleSpec(channels[level])] : [],
  };
};

const midBlockSpec = (config: UNetConfig) => {
  const channels = config.blockOutChannels[config.blockOutChannels.length - 1];
  return {
    attentions: [transformerSpec(channels, config.crossAttentionDim, config.linearProjection)],
    resnets: [resnetSpec(channels, channels, timeDim(config)), resnetSpec(channels, channels, timeDim(config))],
  };
};

/** `position` counts from the smallest level. Every layer takes one of the states that the way down left behind. */
const upBlockSpec = (position: number, config: UNetConfig) => {
  const { blockOutChannels, layersPerBlock, upBlockTypes } = config;
  const channels = [...blockOutChannels].reverse();
  const own = channels[position];
  const below = channels[Math.max(position - 1, 0)];
  const above = channels[Math.min(position + 1, channels.length - 1)];
  return {
    attentions: attentionsSpec(upBlockTypes[position], layersPerBlock + 1, own, config),
    resnets: Array.from({ length: layersPerBlock + 1 }, (_, i) =>
      resnetSpec((i === 0 ? below : own) + (i === layersPerBlock ? above : own), own, timeDim(config)),
    ),
    upsamplers: position < channels.length - 1 ? [resampleSpec(own)] : [],
  };
};

export const unetSpec = (config: UNetConfig) => {
  const { inChannels, outChannels, blockOutChannels } = config;
  const levels = blockOutChannels.map((_, i) => i);
  return {
    conv_in: biasedConv2dSpec(inChannels, blockOutChannels[0], 3),
    time_embedding: timeEmbeddingSpec(blockOutChannels[0], timeDim(config)),
    down_blocks: levels.map((level) => downBlockSpec(level, config)),
    mid_block: midBlockSpec(config),
    up_blocks: levels.map((position) => upBlockSpec(position, config)),
    conv_norm_out: normSpec(blockOutChannels[0]),
    conv_out: biasedConv2dSpec(blockOutChannels[0], outChannels, 3),
  };
};
export type UNetParams = Params<ReturnType<typeof unetSpec>>;

/**
 * Predicts what `prediction_type` of the schedule says (noise or velocity).
 * latents [images, height, width, channels], one time step an image, condition [images, tokens, crossAttentionDim] -> like latents.
 * Height and width need not be multiples of anything: the way up takes the sizes of the way down.
 */
export function unet(p: UNetParams, latents: tf.Tensor4D, timesteps: ArrayLike<number>, condition: tf.Tensor3D, config: UNetConfig): tf.Tensor4D {
  const { images } = shapes({
    latents: [latents, `images height width ${config.inChannels}`],
    condition: [condition, `images tokens ${config.crossAttentionDim}`],
  });
  if (timesteps.length !== images) throw new Error(`unet: expected one time step for each of ${images} images, found ${timesteps.length}.`);

  return tf.tidy(() => {
    const sinusoids = timestepSinusoids(timesteps, config.blockOutChannels[0], config);
    const time = activation(timeEmbedding(p.time_embedding, sinusoids), 'silu'); // [images, timeDim]
    const levels = config.blockOutChannels.length;
    const padding = [1, 1, 1, 1] as const;
    const attend = (layer: TransformerParams | undefined, x: tf.Tensor4D, level: number) =>
      layer ? transformer(layer, x, condition, { ...config, numHeads: config.numHeads[level] }) : x;

    let x = shown(p.conv_in, conv2d(p.conv_in, latents, { padding }));
    const skips = [x];
    p.down_blocks.forEach((block, level) => {
      block.resnets.forEach((layer, i) => {
        x = attend(block.attentions[i], resnet(layer, x, config, time), level);
        skips.push(x);
      });
      for (const layer of block.downsamplers) {
        x = downsample(layer, x, padding);
        skips.push(x);
      }
      shown(block, x);
    });

    const [before, after] = p.mid_block.resnets;
    x = resnet(before, x, config, time);
    x = attend(p.mid_block.attentions[0], x, levels - 1);
    x = shown(p.mid_block, resnet(after, x, config, time));

    p.up_blocks.forEach((block, position) => {
      block.resnets.forEach((layer, i) => {
        const joined = tf.concat([x, skips.pop()!], 3); // [images, height, width, x + skip]
        x = attend(block.attentions[i], resnet(layer, joined, config, time), levels - 1 - position);
      });
      for (const layer of block.upsamplers) {
        const [, height, width] = skips[skips.length - 1].shape;
        x = upsample(layer, x, height, width);
      }
      shown(block, x);
    });

    const { normGroups, normEps } = config;
    shownApart(p.conv_norm_out, () => groupNorm(p.conv_norm_out, x, normGroups, normEps));
    return shown(p.conv_out, conv2d(p.conv_out, groupNormSilu(p.conv_norm_out, x, normGroups, normEps), { padding }));
  });
}
