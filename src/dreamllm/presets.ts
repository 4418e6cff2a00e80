import { clipVisionLarge, type ClipConfig, type ClipTextConfig } from '../models/clip/index.js';
import { dreamSampler, stableDiffusionUNet, stableDiffusionVae } from '../models/diffusion/index.js';
import { llama7b } from '../models/llama/index.js';
import type { DreamConfig } from './config.js';
import { nanoTemplate, vicuna } from './conversation.js';
import { declaredTokens } from './special-tokens.js';

/**
 * DreamLLM-7B: Vicuna-7B with eight tokens more, CLIP ViT-L/14, Stable Diffusion 2.1-base, 64 queries. The ids of the special tokens are in
 * declaration order; a released checkpoint has others, which `readDreamConfig` reads.
 */
export const dreamllm7b: DreamConfig = {
  language: llama7b(32008),
  vision: clipVisionLarge,
  numDreamQueries: 64,
  unet: stableDiffusionUNet,
  vae: stableDiffusionVae,
  sampler: dreamSampler,
  imageSize: 512,
  tokens: declaredTokens(32008),
  maxTokens: 2048,
  template: vicuna,
};

/**
 * The small model that this project trains from nothing. 32×32 pictures are 16 patches to read and 8×8×4 latents to draw. The paper has 64 queries;
 * 16 fit the short context: a drawn and read picture takes 36 of 320 positions, where the full model's takes 324 of 2048. Pictures are seen through two
 * maps, as in the reference's SDXL variant, and at first as faintly as its words are: a few hundred steps align that far better than one map does.
 */
export const nano: DreamConfig = {
  language: {
    vocabSize: 2048, hiddenSize: 192, intermediateSize: 512, numLayers: 6, numHeads: 6, numKvHeads: 6,
    maxPositions: 320, normEps: 1e-6, ropeTheta: 10000, ropeScaling: 1,
  },
  vision: { imageSize: 32, patchSize: 8, hiddenSize: 128, intermediateSize: 512, numLayers: 5, numHeads: 4, normEps: 1e-5, activation: 'quickGelu' },
  numDreamQueries: 16,
  visualProjectorDepth: 2,
  visualProjectorScale: 0.1,
  unet: {
    inChannels: 4, outChannels: 4, blockOutChannels: [64, 128], layersPerBlock: 1,
    downBlockTypes: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'], upBlockTypes: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
    numHeads: [2, 4], crossAttentionDim: 128, linearProjection: true, normGroups: 16, normEps: 1e-5, flipSinToCos: true, freqShift: 0,
  },
  vae: { inChannels: 3, outChannels: 3, latentChannels: 4, blockOutChannels: [32, 64, 96], layersPerBlock: 1, normGroups: 16, scalingFactor: 0.18215 },
  sampler: dreamSampler,
  imageSize: 32,
  tokens: declaredTokens(2048),
  maxTokens: 320,
  template: nanoTemplate,
};

/** The text tower that teaches nano's CLIP and U-Net. DreamLLM itself has no use for it, as it has none for Stable Diffusion's own. */
export const nanoClipText: ClipTextConfig = {
  vocabSize: 2048, maxPositions: 32, hiddenSize: 128, intermediateSize: 512, numLayers: 4, numHeads: 4, normEps: 1e-5, activation: 'quickGelu', endToken: nano.tokens.eos,
};

export const nanoClip: ClipConfig = { vision: nano.vision, text: nanoClipText, projectionSize: 128, logitScale: Math.log(1 / 0.07) };

/** The smallest model that has every part, with random weights: for tests. Its vocabulary is LLaMA's first three tokens, the bytes, and the added eight. */
export const micro: DreamConfig = {
  language: {
    vocabSize: 267, hiddenSize: 32, intermediateSize: 64, numLayers: 2, numHeads: 2, numKvHeads: 2,
    maxPositions: 128, normEps: 1e-6, ropeTheta: 10000, ropeScaling: 1,
  },
  vision: { imageSize: 16, patchSize: 8, hiddenSize: 16, intermediateSize: 32, numLayers: 2, numHeads: 2, normEps: 1e-5, activation: 'quickGelu' },
  numDreamQueries: 3,
  unet: {
    inChannels: 4, outChannels: 4, blockOutChannels: [8, 16], layersPerBlock: 1,
    downBlockTypes: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'], upBlockTypes: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
    numHeads: [1, 2], crossAttentionDim: 16, linearProjection: true, normGroups: 4, normEps: 1e-5, flipSinToCos: true, freqShift: 0,
  },
  vae: { inChannels: 3, outChannels: 3, latentChannels: 4, blockOutChannels: [8, 8, 8], layersPerBlock: 1, normGroups: 4, scalingFactor: 0.18215 },
  sampler: dreamSampler,
  imageSize: 16,
  tokens: declaredTokens(267),
  maxTokens: 128,
  template: nanoTemplate,
};

const presets = { 'dreamllm-7b': dreamllm7b, nano, micro } as const;
export type PresetName = keyof typeof presets;
export const presetNames = Object.keys(presets) as PresetName[];

/** The configuration of a preset by name. */
export function preset(name: string): DreamConfig {
  if (!Object.hasOwn(presets, name)) throw new Error(`Unknown preset "${name}". There are ${presetNames.join(', ')}.`);
  return presets[name as PresetName];
}
