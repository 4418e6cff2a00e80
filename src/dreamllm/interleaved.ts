import * as tf from '@tensorflow/tfjs';
import { clipPreprocessing, imageTensor, toImages, type RgbImage } from '../core/images.js';
import { deriveSeed, random } from '../core/random.js';
import { drawToken, KvCache } from '../models/llama/index.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { untrainedTokens } from './comprehend.js';
import { layoutConfig } from './config.js';
import { dreamOn, drawFrom, queryStates, type DrawOptions } from './create.js';
import { pictureLength } from './layout.js';
import { imageFeatures, projectImages, type DreamModel } from './model.js';
import { embedPrompts, promptSequence, type Prompt } from './prompt.js';

/** One document on its way through the model: what has been read or written so far, as a key-value cache. Dispose it after use. */
export class Session {
  readonly #cache = new KvCache();
  #last: tf.Tensor2D | undefined;

  constructor(readonly model: DreamModel) {}

  /** Positions used. */
  get length(): number {
    return this.#cache.length;
  }

  /** Reads `<s>` and a prompt of text and pictures. */
  async read(prompt: Prompt, tokenizer: Tokenizer): Promise<void> {
    const { embeds } = embedPrompts(this.model, [promptSequence(prompt, tokenizer, this.model.config)]);
    await this.#feed(embeds);
  }

  /** Reads tokens. */
  async readTokens(tokenIds: readonly number[]): Promise<void> {
    await this.#feed(tf.tidy(() => this.model.language.embed(tf.tensor2d([...tokenIds], [1, tokenIds.length], 'int32'))));
  }

  /** Reads a picture: `<im_start>`, its projected CLIP features, `<im_end>`. */
  async readImage(image: RgbImage): Promise<void> {
    const { config, plugins, language } = this.model;
    const embeds = tf.tidy(() => {
      const marks = language.embed(tf.tensor2d([[config.tokens.imStart, config.tokens.imEnd]], [1, 2], 'int32'));
      const [start, end] = tf.split(marks, 2, 1) as tf.Tensor3D[];
      const pixels = imageTensor([image], clipPreprocessing(config.vision.imageSize));
      return tf.concat([start, projectImages(plugins, imageFeatures(plugins, pixels, config)), end], 1);
    });
    await this.#feed(embeds);
  }

  /** Goes through a dream block and gives the states at its queries, [1, queries, dim], which belong to the caller: all that was read so far conditions them. */
  async dream(): Promise<tf.Tensor3D> {
    const { queries, last } = await dreamOn(this.model, this.#cache, 1);
    this.#last?.dispose();
    this.#last = last;
    return queries;
  }

  /** Logits of the next token. */
  async logits(): Promise<Float32Array> {
    if (!this.#last) throw new Error('A session has no logits before something was read.');
    const logits = this.model.language.head(this.#last);
    const values = (await logits.data()) as Float32Array;
    logits.dispose();
    return values;
  }

  async #feed(embeds: tf.Tensor3D): Promise<void> {
    const [, tokens, dim] = embeds.shape;
    try {
      const states = await this.model.language.forward(embeds, { cache: this.#cache });
      this.#last?.dispose();
      this.#last = tf.tidy(() => states.slice([0, tokens - 1, 0], [1, 1, -1]).reshape<tf.Tensor2D>([1, dim]));
      states.dispose();
    } finally {
      embeds.dispose();
    }
  }

  dispose(): void {
    this.#cache.dispose();
    this.#last?.dispose();
    this.#last = undefined;
  }
}

/** A part of a written document. */
export type Part = { kind: 'text'; text: string } | { kind: 'image'; image: RgbImage; seed: number; forced: boolean };

export interface WriteOptions extends DrawOptions {
  seed: number;
  /** Positions that the whole may take, prompt and pictures included. Default: the model's context. */
  maxTokens?: number;
  /** Default: as many as fit. */
  maxImages?: number;
  /** 0: always the most likely token. Default 0.7. */
  temperature?: number;
  topP?: number;
  /** Put a picture after this many written text tokens, whether the model wants one or not. */
  forceImageAt?: readonly number[];
  /** Told each part when it is complete. */
  onPart?(part: Part): void | Promise<void>;
}

/**
 * Writes a document of text and pictures behind a prompt. The model decides where a picture goes, by `<dream_start>`; the diffusion head draws it from
 * the whole history; it is read back through CLIP, and the text goes on behind it. Tokens that were never targets are masked. Ends at `</s>`, or when
 * the positions are used up; a picture is begun only where it fits whole. The same seed gives the same document.
 */
export async function writeDocument(model: DreamModel, tokenizer: Tokenizer, prompt: Prompt, options: WriteOptions): Promise<Part[]> {
  const { config } = model;
  const { seed, maxTokens = config.language.maxPositions, maxImages = Infinity, temperature = 0.7, topP = 1, forceImageAt = [], onPart, ...drawing } = options;
  const { eos, dreamStart } = config.tokens;
  const limit = Math.min(maxTokens, config.language.maxPositions);
  const masked = untrainedTokens(config);
  const picture = pictureLength(layoutConfig(config));
  const forced = [...forceImageAt].sort((a, b) => a - b);

  const parts: Part[] = [];
  let text: number[] = [];
  let written = 0;
  let images = 0;
  const finish = async (part: Part) => {
    parts.push(part);
    await onPart?.(part);
  };
  const finishText = async () => {
    const words = tokenizer.decode(text).trim();
    text = [];
    if (words) await finish({ kind: 'text', text: words });
  };

  const session = new Session(model);
  let negative: tf.Tensor3D | undefined;
  try {
    await session.read(prompt, tokenizer);
    while (session.length < limit) {
      drawing.signal?.throwIfAborted();
      const hasRoom = images < maxImages && session.length + picture <= limit;
      const isForced = forced.length > 0 && forced[0] <= written;
      if (isForced) forced.shift();
      const next = isForced && hasRoom ? dreamStart : choose(await session.logits(), hasRoom ? masked : [...masked, dreamStart]);
      if (next === eos) break;
      if (next !== dreamStart) {
        text.push(next);
        written++;
        await session.readTokens([next]);
        continue;
      }
      await finishText();
      if ((drawing.guidanceScale ?? 7.5) > 1) negative ??= await queryStates(model, tokenizer, [drawing.negative ?? '']);
      const pictureSeed = deriveSeed(seed, 'picture', images);
      const image = await drawPicture(await session.dream(), pictureSeed);
      images++;
      await session.readImage(image);
      await finish({ kind: 'image', image, seed: pictureSeed, forced: isForced });
    }
    await finishText();
    return parts;
  } finally {
    session.dispose();
    negative?.dispose();
  }

  async function drawPicture(states: tf.Tensor3D, pictureSeed: number): Promise<RgbImage> {
    try {
      const drawn = await drawFrom(model, states, negative, [pictureSeed], drawing);
      const [image] = await toImages(drawn);
      drawn.dispose();
      return image;
    } finally {
      states.dispose();
    }
  }

  function choose(logits: Float32Array, forbidden: readonly number[]): number {
    const allowed = Float32Array.from(logits);
    for (const id of forbidden) allowed[id] = -1e9;
    if (temperature === 0) return allowed.indexOf(allowed.reduce((a, b) => Math.max(a, b)));
    return drawToken(allowed, temperature, topP, random(seed, 'write', session.length).uniform());
  }
}
