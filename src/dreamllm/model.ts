import * as tf from '@tensorflow/tfjs';
import { normal, param, type Params } from '../core/params.js';
import { shapes } from '../core/shapes.js';
import { clipPatches, clipVisionSpec } from '../models/clip/index.js';
import { unetSpec, vaeSpec } from '../models/diffusion/index.js';
import { embedTokens, llamaSpec, llamaStates, lmHead, type DecoderParts } from '../models/llama/index.js';
import type { DreamConfig } from './config.js';
import { project, projectorSpec } from './projector.js';

/** What DreamLLM adds to a language model and in front of a diffusion model, and those two, under the names of the released checkpoints. */
export const dreamSpec = (config: DreamConfig) => {
  const { language, vision, unet, vae, numDreamQueries } = config;
  const { model, lm_head } = llamaSpec(language);
  return {
    model: {
      ...model,
      dream_embedding: { dream_queries: param<tf.Rank.R3>([1, numDreamQueries, language.hiddenSize], normal(0.02)) },
      clip_vision_embedding: {
        clip_vision_model: clipVisionSpec(vision),
        projector: projectorSpec({ inSize: vision.hiddenSize, outSize: language.hiddenSize, depth: config.visualProjectorDepth ?? 1, initialScale: config.visualProjectorScale, bias: true }),
      },
    },
    lm_head,
    stable_diffusion_head: {
      vae: vaeSpec(vae),
      unet: unetSpec(unet),
      projector: projectorSpec({ inSize: language.hiddenSize, outSize: unet.crossAttentionDim, depth: config.conditionProjectorDepth ?? 1, bias: false }),
    },
  };
};

export type DreamParams = Params<ReturnType<typeof dreamSpec>>;

/** The parts beside the language model, which may be somewhere else. */
export interface DreamPlugins {
  model: Pick<DreamParams['model'], 'dream_embedding' | 'clip_vision_embedding'>;
  stable_diffusion_head: DreamParams['stable_diffusion_head'];
}

/** A model to draw and talk with. `language` runs the language model: in memory, or layer by layer from disk. */
export interface DreamModel {
  config: DreamConfig;
  plugins: DreamPlugins;
  language: DecoderParts;
}

/** A model whose parameters all lie in memory. */
export const residentModel = (params: DreamParams, config: DreamConfig): DreamModel => ({
  config,
  plugins: params,
  language: {
    embed: (ids) => embedTokens(params, ids),
    forward: async (embeds, options) => llamaStates(params, embeds, config.language, options),
    head: (states) => lmHead(params, states),
  },
});

/** CLIP's patches before its last layer, as the visual projector takes them. pixels [images, size, size, 3], normalised -> [images, patches, width] */
export function imageFeatures(p: DreamPlugins, pixels: tf.Tensor4D, config: DreamConfig): tf.Tensor3D {
  return clipPatches(p.model.clip_vision_embedding.clip_vision_model, pixels, config.vision);
}

/** The visual projector. features [images, patches, width] -> [images, patches, dim] */
export function projectImages(p: DreamPlugins, features: tf.Tensor3D): tf.Tensor3D {
  return project(p.model.clip_vision_embedding.projector, features);
}

/** The condition projector: from states at the dream queries to what the U-Net attends to. states [images, queries, dim] -> [images, queries, crossAttentionDim] */
export function projectCondition(p: DreamPlugins, states: tf.Tensor3D): tf.Tensor3D {
  const { queries } = shapes({ states: [states, 'images queries dim'], dream_queries: [p.model.dream_embedding.dream_queries, '1 queries dim'] });
  if (queries === 0) throw new Error('The condition needs at least one dream query.');
  return project(p.stable_diffusion_head.projector, states);
}
