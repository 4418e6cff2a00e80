import * as tf from '@tensorflow/tfjs';
import { clipPreprocessing, imageTensor, type RgbImage } from '../core/images.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { collate, type Collated } from './collate.js';
import { layoutConfig, type DreamConfig } from './config.js';
import { layOut, type Segment, type Sequence } from './layout.js';
import { imageFeatures, projectImages, type DreamModel } from './model.js';
import { splice } from './splice.js';

/** Text and pictures in reading order. Special tokens spelt in a text become their ids. */
export type Prompt = string | readonly (string | RgbImage)[];

/** `<s>` and the prompt, pictures as image blocks; `dreams` adds a dream block behind it. */
export function promptSequence(prompt: Prompt, tokenizer: Tokenizer, config: DreamConfig, { dreams = false } = {}): Sequence<RgbImage | null> {
  const parts = typeof prompt === 'string' ? [prompt] : prompt;
  const segments: Segment<RgbImage | null>[] = [{ kind: 'text', tokenIds: [config.tokens.bos], learned: false }];
  for (const part of parts) {
    segments.push(typeof part === 'string' ? { kind: 'text', tokenIds: tokenizer.encode(part), learned: false } : { kind: 'image', image: part });
  }
  if (dreams) segments.push({ kind: 'dream', image: null, learned: false });
  const sequence = layOut(segments, layoutConfig(config));
  const limit = config.language.maxPositions;
  if (sequence.tokenIds.length > limit) throw new Error(`The prompt takes ${sequence.tokenIds.length} positions; the model was trained with ${limit}. Shorten the text or leave out a picture.`);
  return sequence;
}

/** Embeddings [prompts, tokens, dim] of prompts, padded on the right, with queries and pictures in place. */
export function embedPrompts({ plugins, language, config }: DreamModel, prompts: readonly Sequence<RgbImage | null>[]): { embeds: tf.Tensor3D; collated: Collated<RgbImage | null> } {
  const collated = collate(prompts, config.tokens);
  const { batch, tokens, tokenIds, images, dreamStarts, imageStarts } = collated;
  const embeds = tf.tidy(() =>
    splice(language.embed(tf.tensor2d(tokenIds, [batch, tokens], 'int32')), {
      queries: plugins.model.dream_embedding.dream_queries,
      dreamStarts,
      features: images.length ? projectImages(plugins, imageFeatures(plugins, imageTensor(images as RgbImage[], clipPreprocessing(config.vision.imageSize)), config)) : undefined,
      imageStarts,
    }),
  );
  return { embeds, collated };
}
