import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { clipVisionConfig, clipVisionLarge, numPatches, type ClipVisionConfig } from '../models/clip/index.js';
import {
  dreamSampler, schedulerConfig, stableDiffusionUNet, stableDiffusionVae, unetConfig, vaeConfig, type DdpmConfig, type UNetConfig, type VaeConfig,
} from '../models/diffusion/index.js';
import { llamaConfig, type LlamaConfig } from '../models/llama/index.js';
import { vicuna, type Template } from './conversation.js';
import type { LayoutConfig } from './layout.js';
import { readSpecialTokens, type SpecialTokens } from './special-tokens.js';

/** A whole DreamLLM. */
export interface DreamConfig {
  language: LlamaConfig;
  vision: ClipVisionConfig;
  numDreamQueries: number;
  /** Linear maps in each projector. Default 1, as released. */
  visualProjectorDepth?: number;
  /** Factor on the initial values of the visual projector's last map. Default 1. */
  visualProjectorScale?: number;
  conditionProjectorDepth?: number;
  unet: UNetConfig;
  vae: VaeConfig;
  /** The noise schedule of training, and the sampler. */
  sampler: DdpmConfig;
  /** Pictures that are drawn are squares of this side. */
  imageSize: number;
  tokens: SpecialTokens;
  /** Longest sequence in training. */
  maxTokens: number;
  /** How conversations are written. */
  template: Template;
}

/** What the released configuration leaves open: weights of the two losses and the tricks of diffusion training. */
export interface Objective {
  /** Weights of the language and the diffusion loss, of the alignment loss that the paper tried and left out, and of the regression that it argues against. */
  weights: { lm: number; diffusion: number; alignment?: number; regression?: number };
  /** The sum is divided by 1, by the sum of the weights, or by the root of the sum of their squares. */
  scale: 'none' | 'l1_norm' | 'l2_norm';
  /** Share of conditions replaced by the unconditional one, for guidance. The released training drops none. */
  dropProbability: number;
  /**
   * What stands in the dream block of the unconditional sequence: the queries, as in sampling, or (`released`) the embeddings of `<im_patch>`, which
   * the reference code's training forward leaves there.
   */
  unconditional: 'queries' | 'released';
  /** Standard deviation of an offset for each image and channel added to the noise; 0 for none. */
  noiseOffset: number;
  /** Standard deviation of extra noise in the noisy latents alone; 0 for none. */
  inputPerturbation: number;
  /** Bound of min-SNR weighting (Hang et al. 2023); absent: all time steps weigh alike. */
  snrGamma?: number;
}

/** The released configuration of stages II and III. */
export const releasedObjective: Objective = {
  weights: { lm: 1, diffusion: 10 },
  scale: 'none',
  dropProbability: 0,
  unconditional: 'queries',
  noiseOffset: 0,
  inputPerturbation: 0,
};

export const layoutConfig = ({ tokens, numDreamQueries, vision, maxTokens }: DreamConfig): LayoutConfig => ({
  tokens,
  numDreamQueries,
  numImagePatches: numPatches(vision),
  maxTokens,
});

/** Height and width of the latents of a picture. */
export const latentSize = ({ imageSize, vae }: DreamConfig): number => imageSize / 2 ** (vae.blockOutChannels.length - 1);

type Json = Record<string, unknown>;

const readJson = (file: string): Json => {
  if (!existsSync(file)) throw new Error(`${file} is missing. A DreamLLM checkpoint folder holds config.json, and configurations of its parts where they are not the released ones.`);
  return JSON.parse(readFileSync(file, 'utf8')) as Json;
};

/**
 * Reads the `config.json` of a DreamLLM folder. The parts are named in `plugins_init_kwargs`: a folder beside it with their own configurations, or
 * the published models that the release is made of.
 */
export function readDreamConfig(folder: string): { config: DreamConfig; objective: Objective } {
  const json = readJson(join(folder, 'config.json'));
  const plugins = (json.plugins_init_kwargs ?? {}) as Record<string, Json | undefined>;
  const plugin = (name: string): Json => {
    const found = plugins[name];
    if (!found) throw new Error(`${folder}/config.json: plugins_init_kwargs lacks "${name}". It has ${Object.keys(plugins).join(', ') || 'nothing'}.`);
    return found;
  };
  const depth = (part: Json): number => {
    const [type, layers] = [part.projector_type ?? 'linear', Number(part.projector_depth ?? 1)];
    if ((type === 'linear' && layers === 1) || (type === 'mlp' && layers > 1)) return layers;
    throw new Error(`${folder}/config.json: expected a projector of type linear and depth 1, as released, or mlp and more; found ${type} and ${layers}.`);
  };
  const [seeing, dreaming, drawing] = [plugin('clip_vision_embedding'), plugin('dream_embedding'), plugin('stable_diffusion_head')];
  if ((seeing.select_layer ?? -2) !== -2 || seeing.use_additional_post_layernorm === true) {
    throw new Error(`${folder}/config.json: expected CLIP features of layer -2 without a further norm, found select_layer ${seeing.select_layer}, use_additional_post_layernorm ${seeing.use_additional_post_layernorm}.`);
  }
  const partFolder = (part: Json, key: string, published: string): string | undefined => {
    const name = String(part[key]);
    const beside = join(folder, name);
    if (existsSync(beside)) return beside;
    if (name.endsWith(published)) return undefined;
    throw new Error(`${folder}/config.json: ${key} is "${name}", which is neither a folder beside it nor ${published}. Put the configuration of that model into ${beside}.`);
  };
  const clip = partFolder(seeing, 'clip_vision_model_name_or_path', 'openai/clip-vit-large-patch14');
  const diffusion = partFolder(drawing, 'diffusion_name_or_path', 'stabilityai/stable-diffusion-2-1-base');

  const vae = diffusion ? vaeConfig(readJson(join(diffusion, 'vae', 'config.json'))) : stableDiffusionVae;
  const unetJson = diffusion === undefined ? undefined : readJson(join(diffusion, 'unet', 'config.json'));
  const scale = 2 ** (vae.blockOutChannels.length - 1);
  const language = llamaConfig(json);
  return {
    config: {
      language,
      vision: clip ? clipVisionConfig(readJson(join(clip, 'config.json'))) : clipVisionLarge,
      numDreamQueries: Number(dreaming.num_dream_queries ?? 64),
      visualProjectorDepth: depth(seeing),
      conditionProjectorDepth: depth(drawing),
      unet: unetJson ? unetConfig(unetJson) : stableDiffusionUNet,
      vae,
      sampler: diffusion ? (schedulerConfig(readJson(join(diffusion, 'scheduler', 'scheduler_config.json')), 'ddpm') as DdpmConfig) : dreamSampler,
      // The reference never gives the side of what it draws; it follows from the latents that the U-Net was made for.
      imageSize: Number(drawing.resolution ?? Number(unetJson?.sample_size ?? 64) * scale),
      tokens: readSpecialTokens(folder, json),
      maxTokens: Number(json.max_sequence_length ?? language.maxPositions),
      template: vicuna,
    },
    objective: {
      weights: { lm: Number(json.loss_weight_lm ?? 1), diffusion: Number(json.loss_weight_vm ?? 10) },
      scale: (json.loss_scale_schedule ?? 'none') as Objective['scale'],
      dropProbability: Number(drawing.drop_prob ?? 0),
      unconditional: 'queries',
      noiseOffset: Number(drawing.noise_offset ?? 0),
      inputPerturbation: Number(drawing.input_perturbation ?? 0),
      ...(drawing.snr_gamma == null ? {} : { snrGamma: Number(drawing.snr_gamma) }),
    },
  };
}
