import * as tf from '@tensorflow/tfjs';
import { embedding } from '../core/ops/index.js';
import { imageTensor, clipPreprocessing, diffusionPreprocessing, type RgbImage } from '../core/images.js';
import { drawLatents, encode } from '../models/diffusion/index.js';
import { embedTokens, llamaStates } from '../models/llama/index.js';
import type { Collated } from './collate.js';
import type { DreamConfig } from './config.js';
import { imageFeatures, projectImages, type DreamParams } from './model.js';
import { splice } from './splice.js';

/** The token side of a batch, without pictures. */
export type TokenBatch = Omit<Collated<unknown>, 'images' | 'dreamImages'>;

/** A batch as the network takes it after its frozen encoders. The tensors belong to whoever made it (`tf.dispose`). */
export interface EncodedBatch extends TokenBatch {
  /** CLIP patches of the pictures that are read, [images, patches, width]; null without any. */
  features: tf.Tensor3D | null;
  /** Scaled latents of the pictures that are drawn, [images, height, width, channels]; null without any. */
  latents: tf.Tensor4D | null;
  /** Mean CLIP patch of the pictures that are drawn, [images, width]; only for the alignment loss. */
  alignTargets?: tf.Tensor2D | null;
  /** What conditions are fitted to, [images, queries, crossAttentionDim]; only for the regression loss. */
  regressionTargets?: tf.Tensor3D | null;
}

/** Pictures as inputs of the two encoders. */
export interface Pixels {
  /** [images, size, size, 3] for CLIP, or null. */
  images: tf.Tensor4D | null;
  /** [images, size, size, 3] in [-1, 1] for the autoencoder, or null. */
  dreamImages: tf.Tensor4D | null;
  /** The pictures that are drawn as CLIP takes them; only for the alignment loss. */
  aligned?: tf.Tensor4D | null;
}

export function pixels(
  { images, dreamImages }: Pick<Collated<RgbImage>, 'images' | 'dreamImages'>, { vision, imageSize }: DreamConfig, { alignment = false } = {},
): Pixels {
  return {
    ...(alignment ? { aligned: dreamImages.length ? imageTensor(dreamImages, clipPreprocessing(vision.imageSize)) : null } : {}),
    images: images.length ? imageTensor(images, clipPreprocessing(vision.imageSize)) : null,
    dreamImages: dreamImages.length ? imageTensor(dreamImages, diffusionPreprocessing(imageSize)) : null,
  };
}

/**
 * Runs the frozen encoders, before gradients are taken. `posteriorNoise` from N(0, 1) in the shape of the latents draws from the autoencoder's
 * posterior; without it latents are its mean.
 */
export function encodeImages(p: DreamParams, config: DreamConfig, tokens: TokenBatch, { images, dreamImages, aligned }: Pixels, posteriorNoise?: tf.Tensor4D): EncodedBatch {
  const features = images && imageFeatures(p, images, config);
  const latents =
    dreamImages && tf.tidy(() => drawLatents(encode(p.stable_diffusion_head.vae, dreamImages, config.vae), config.vae, posteriorNoise));
  const alignTargets = aligned && tf.tidy(() => imageFeatures(p, aligned, config).mean<tf.Tensor2D>(1));
  const { batch, tokens: length, tokenIds, labels, mask, imageStarts, dreamStarts } = tokens;
  return { batch, tokens: length, tokenIds, labels, mask, imageStarts, dreamStarts, features, latents, ...(aligned === undefined ? {} : { alignTargets }) };
}

/** Embeddings of a batch with queries and projected features in place. [batch, tokens, dim] */
export function embedBatch(p: DreamParams, { batch, tokens, tokenIds, dreamStarts, imageStarts, features }: Omit<EncodedBatch, 'latents'>): tf.Tensor3D {
  return tf.tidy(() =>
    splice(embedTokens(p, tf.tensor2d(tokenIds, [batch, tokens], 'int32')), {
      queries: p.model.dream_embedding.dream_queries,
      dreamStarts,
      features: features ? projectImages(p, features) : undefined,
      imageStarts,
    }),
  );
}

/**
 * States of the whole batch after the final norm, in one causal pass. [batch, tokens, dim]
 * Padding stands on the right, where causality hides it from every token. So it is left out: the sequences run one behind the other, each seeing itself
 * alone. States of padding are copies of the last one before it, and mean nothing.
 */
export function forwardStates(p: DreamParams, config: DreamConfig, encoded: Omit<EncodedBatch, 'latents'>): tf.Tensor3D {
  return tf.tidy(() => {
    const { batch, tokens, mask } = encoded;
    const embeds = embedBatch(p, encoded);
    const lengths = Array.from({ length: batch }, (_, row) => Math.max(1, mask.lastIndexOf(1, (row + 1) * tokens - 1) - row * tokens + 1));
    const total = lengths.reduce((a, b) => a + b, 0);
    if (total === batch * tokens) return llamaStates(p, embeds, config.language);

    const dim = config.language.hiddenSize;
    const rows = new Int32Array(total); // of each token that is run, its row in the padded batch
    const places = new Int32Array(batch * tokens); // and the other way round
    let next = 0;
    lengths.forEach((length, row) => {
      for (let token = 0; token < tokens; token++) {
        places[row * tokens + token] = next + Math.min(token, length - 1);
        if (token < length) rows[next + token] = row * tokens + token;
      }
      next += length;
    });
    const packed = embedding(embeds.reshape([batch * tokens, dim]), tf.tensor1d(rows, 'int32')).reshape<tf.Tensor3D>([1, total, dim]);
    const states = llamaStates(p, packed, config.language, { lengths });
    return embedding(states.reshape([total, dim]), tf.tensor1d(places, 'int32')).reshape([batch, tokens, dim]);
  });
}
