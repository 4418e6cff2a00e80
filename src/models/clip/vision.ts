import * as tf from '@tensorflow/tfjs';
import { attentionWeights } from '../../core/ops/index.js';
import { normal, param, type Params } from '../../core/params.js';
import { shapes } from '../../core/shapes.js';
import { conv2d, embeddingSpec, layerNorm, linear, normSpec } from '../../nn/index.js';
import type { ClipVisionConfig } from './config.js';
import { encoderSpec, encoderStates, type EncoderLayerParams } from './encoder.js';

export const numPatches = ({ imageSize, patchSize }: ClipVisionConfig): number => Math.floor(imageSize / patchSize) ** 2;

/** The vision tower of a CLIP under the names of its published checkpoints ("pre_layrnorm" is theirs). */
export const clipVisionSpec = (config: ClipVisionConfig) => {
  const { hiddenSize, patchSize } = config;
  return {
    vision_model: {
      embeddings: {
        class_embedding: param<tf.Rank.R1>([hiddenSize], normal(hiddenSize ** -0.5)),
        patch_embedding: { weight: param<tf.Rank.R4>([patchSize, patchSize, 3, hiddenSize], normal(0.02), 'conv') },
        position_embedding: embeddingSpec(numPatches(config) + 1, hiddenSize, normal(0.02)),
      },
      pre_layrnorm: normSpec(hiddenSize),
      encoder: encoderSpec(config),
      post_layernorm: normSpec(hiddenSize),
    },
  };
};

export type ClipVisionParams = Params<ReturnType<typeof clipVisionSpec>>;

/** Keys that published CLIP checkpoints hold besides the parameters. */
export const clipBuffers = /(^|\.)position_ids$/;

/** pixels [images, size, size, 3], normalised -> [images, patches + 1, dim], the class token first */
function embedImage(p: ClipVisionParams, pixels: tf.Tensor4D, config: ClipVisionConfig): tf.Tensor3D {
  const { images } = shapes({ pixels: [pixels, `images ${config.imageSize} ${config.imageSize} 3` as 'images'] });
  const { embeddings, pre_layrnorm } = p.vision_model;
  const dim = config.hiddenSize;
  const patches = conv2d(embeddings.patch_embedding, pixels, { stride: config.patchSize }).reshape<tf.Tensor3D>([images, numPatches(config), dim]);
  const classToken = embeddings.class_embedding.reshape([1, 1, dim]).add(tf.zeros([images, 1, dim])); // a copy for each image
  const tokens = tf.concat([classToken, patches], 1).add<tf.Tensor3D>(embeddings.position_embedding.weight);
  return layerNorm(pre_layrnorm, tokens, config.normEps);
}

/** States before the first layer and after each: numLayers + 1 of [images, patches + 1, dim], without the last normalisation. */
export function clipVisionStates(p: ClipVisionParams, pixels: tf.Tensor4D, config: ClipVisionConfig): tf.Tensor3D[] {
  return tf.tidy(() => encoderStates(p.vision_model.encoder.layers, embedImage(p, pixels, config), config));
}

/**
 * What a language model sees of an image: the states of the patches, without the class token, before the last layer.
 * pixels [images, size, size, 3], normalised -> [images, patches, dim]
 */
export function clipPatches(p: ClipVisionParams, pixels: tf.Tensor4D, config: ClipVisionConfig): tf.Tensor3D {
  return tf.tidy(() => {
    const layers = p.vision_model.encoder.layers.slice(0, -1);
    const last = encoderStates(layers, embedImage(p, pixels, config), config).at(-1)!;
    return last.slice([0, 1, 0], [-1, -1, -1]);
  });
}

/** The class token after the last layer, normalised. pixels [images, size, size, 3], normalised -> [images, dim] */
export function clipImagePooled(p: ClipVisionParams, pixels: tf.Tensor4D, config: ClipVisionConfig): tf.Tensor2D {
  return tf.tidy(() => poolImage(p, clipVisionStates(p, pixels, config).at(-1)!, config));
}

/** states of the last layer [images, patches + 1, dim] -> [images, dim] */
export function poolImage(p: ClipVisionParams, states: tf.Tensor3D, config: ClipVisionConfig): tf.Tensor2D {
  return tf.tidy(() => {
    const [images, , dim] = states.shape;
    return layerNorm(p.vision_model.post_layernorm, states.slice([0, 0, 0], [-1, 1, -1]).reshape<tf.Tensor2D>([images, dim]), config.normEps);
  });
}

/** Attention probabilities of one layer for the states that enter it. [images, patches + 1, dim] -> [images, heads, patches + 1, patches + 1] */
export function clipAttentionWeights(p: EncoderLayerParams, states: tf.Tensor3D, config: ClipVisionConfig): tf.Tensor4D {
  return tf.tidy(() => {
    const x = layerNorm(p.layer_norm1, states, config.normEps);
    return attentionWeights(linear(p.self_attn.q_proj, x), linear(p.self_attn.k_proj, x), { numHeads: config.numHeads });
  });
}
