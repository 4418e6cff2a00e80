import type { ActivationKind } from '../../core/ops/index.js';

/** What both towers are made of. */
export interface EncoderConfig {
  hiddenSize: number;
  intermediateSize: number;
  numLayers: number;
  numHeads: number;
  normEps: number;
  activation: ActivationKind;
}

export interface ClipVisionConfig extends EncoderConfig {
  imageSize: number;
  patchSize: number;
}

export interface ClipTextConfig extends EncoderConfig {
  vocabSize: number;
  maxPositions: number;
  /** The state of a text is that at this token; `highest`: at the largest token id, CLIP's original rule, which its end token has. */
  endToken: number | 'highest';
}

export interface ClipConfig {
  vision: ClipVisionConfig;
  text: ClipTextConfig;
  projectionSize: number;
  /** Logarithm of the first temperature factor. CLIP: ln(1 / 0.07). */
  logitScale: number;
}

/** The vision tower of openai/clip-vit-large-patch14, which DreamLLM sees with. */
export const clipVisionLarge: ClipVisionConfig = {
  imageSize: 224,
  patchSize: 14,
  hiddenSize: 1024,
  intermediateSize: 4096,
  numLayers: 24,
  numHeads: 16,
  normEps: 1e-5,
  activation: 'quickGelu',
};

type Json = Record<string, unknown>;

const activations: Record<string, ActivationKind> = { quick_gelu: 'quickGelu', gelu: 'gelu', silu: 'silu', swish: 'silu' };

function encoder(json: Json, defaults: Record<string, number>): EncoderConfig {
  const number = (key: string) => numberOf(json, key, defaults);
  const name = (json.hidden_act ?? 'quick_gelu') as string;
  if (!activations[name]) throw new Error(`CLIP configuration: "hidden_act" is ${JSON.stringify(name)}; supported is ${Object.keys(activations).join(', ')}.`);
  return {
    hiddenSize: number('hidden_size'),
    intermediateSize: number('intermediate_size'),
    numLayers: number('num_hidden_layers'),
    numHeads: number('num_attention_heads'),
    normEps: number('layer_norm_eps'),
    activation: activations[name],
  };
}

function numberOf(json: Json, key: string, defaults: Record<string, number>): number {
  const value = json[key] ?? defaults[key];
  if (typeof value !== 'number') throw new Error(`CLIP configuration: expected a number under "${key}", found ${JSON.stringify(json[key])}.`);
  return value;
}

// Files leave out what has transformers' default value, which is CLIP ViT-B/32's.
const visionDefaults = { hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12, layer_norm_eps: 1e-5, image_size: 224, patch_size: 32 };
const textDefaults = {
  hidden_size: 512, intermediate_size: 2048, num_hidden_layers: 12, num_attention_heads: 8, layer_norm_eps: 1e-5,
  vocab_size: 49408, max_position_embeddings: 77, eos_token_id: 49407,
};

/** Reads a Hugging Face configuration of a CLIP vision tower. */
export function clipVisionConfig(json: Json): ClipVisionConfig {
  if ((json.num_channels ?? 3) !== 3) throw new Error(`CLIP configuration: expected 3 "num_channels", found ${JSON.stringify(json.num_channels)}.`);
  return { ...encoder(json, visionDefaults), imageSize: numberOf(json, 'image_size', visionDefaults), patchSize: numberOf(json, 'patch_size', visionDefaults) };
}

/** Reads a Hugging Face configuration of a CLIP text tower. An end token of 2 is how files from before 2023 ask for the highest id. */
export function clipTextConfig(json: Json): ClipTextConfig {
  const endToken = numberOf(json, 'eos_token_id', textDefaults);
  return {
    ...encoder(json, textDefaults),
    vocabSize: numberOf(json, 'vocab_size', textDefaults),
    maxPositions: numberOf(json, 'max_position_embeddings', textDefaults),
    endToken: endToken === 2 ? 'highest' : endToken,
  };
}

/** Reads a Hugging Face configuration of a whole CLIP. */
export function clipConfig(json: Json): ClipConfig {
  const defaults = { projection_dim: 512, logit_scale_init_value: 2.6592 };
  return {
    vision: clipVisionConfig(json.vision_config as Json),
    text: clipTextConfig(json.text_config as Json),
    projectionSize: numberOf(json, 'projection_dim', defaults),
    logitScale: numberOf(json, 'logit_scale_init_value', defaults),
  };
}
