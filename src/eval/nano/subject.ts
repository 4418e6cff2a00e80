import * as tf from '@tensorflow/tfjs';
import type { RgbImage } from '../../core/images.js';
import { loadImage } from '../../data/images.js';
import type { ImageRef } from '../../data/types.js';
import { untrainedTokens, without } from '../../dreamllm/comprehend.js';
import type { DreamModel } from '../../dreamllm/model.js';
import { embedPrompts, promptSequence, type Prompt } from '../../dreamllm/prompt.js';
import { decoderOf, greedy } from '../../models/llama/index.js';
import type { Tokenizer } from '../../text/tokenizer.js';

/** A model under evaluation. */
export interface Subject {
  readonly model: DreamModel;
  readonly tokenizer: Tokenizer;
  /** Goes into every protocol, so that a small model never shares a column with a large one: `nano`, `micro`, `7B`. */
  readonly modelScale: string;
}

/** A generated picture of the emoji world, at the side that the model reads and draws. */
export function picture(ref: ImageRef, side: number): RgbImage {
  return { width: side, height: side, data: loadImage(ref, side) };
}

export interface Continuations {
  /** Greedy continuation of each prompt. */
  readonly texts: string[];
  /** Log-probabilities [watched] of the watched tokens as the first token after each prompt. */
  readonly first: Float64Array[];
}

export interface ContinueOptions {
  readonly maxNewTokens: number;
  /** Tokens whose probability is wanted right after the prompt. */
  readonly watched?: readonly number[];
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/**
 * Continues many prompts by their most likely tokens, in batches of similar length, padded on the left. Gives what `continueText` gives for each
 * alone, and the probabilities of watched first tokens from the same pass. With `maxNewTokens` 0 nothing is written.
 */
export async function continueAll({ model, tokenizer }: Subject, prompts: readonly Prompt[], options: ContinueOptions): Promise<Continuations> {
  const { maxNewTokens, watched = [], batchSize = 32, signal } = options;
  const { config } = model;
  const { eos, pad, dreamStart } = config.tokens;
  const sequences = prompts.map((prompt) => promptSequence(prompt, tokenizer, config));
  const order = sequences.map((_, i) => i).sort((a, b) => sequences[a].tokenIds.length - sequences[b].tokenIds.length);
  const texts = new Array<string>(prompts.length).fill('');
  const first = new Array<Float64Array>(prompts.length);
  const language = without(model.language, [...untrainedTokens(config), dreamStart]);
  for (let start = 0; start < order.length; start += batchSize) {
    signal?.throwIfAborted();
    const rows = order.slice(start, start + batchSize);
    const length = sequences[rows.at(-1)!].tokenIds.length;
    const padding = rows.map((row) => Array<number>(length - sequences[row].tokenIds.length).fill(pad));
    const padded = rows.map((row, i) => ({ ...sequences[row], tokenIds: [...padding[i], ...sequences[row].tokenIds], labels: [...padding[i].map(() => -100), ...sequences[row].labels] }));
    const { embeds } = embedPrompts(model, padded);
    const mask = padding.map((pads) => [...pads.map(() => 0), ...Array<number>(length - pads.length).fill(1)]);
    const decoder = decoderOf(language, { embeds }, mask);
    try {
      const watching = watched.length > 0 || maxNewTokens === 0;
      const logits = watching ? await decoder.prefill() : undefined;
      if (logits) {
        const scores = tf.tidy(() => (watched.length > 0 ? tf.gather(tf.logSoftmax(logits), [...watched], 1) : tf.zeros([rows.length, 0])));
        const values = await scores.data();
        scores.dispose();
        rows.forEach((row, i) => (first[row] = Float64Array.from(values.subarray(i * watched.length, (i + 1) * watched.length))));
      }
      if (maxNewTokens === 0) {
        logits?.dispose();
        continue;
      }
      const room = Math.min(maxNewTokens, config.language.maxPositions - length);
      // The first pass is not run twice: its logits stand in for the prefill of the generation.
      const begun = logits ? { ...decoder, sequences: rows.length, prefill: async () => logits } : decoder;
      const made = await greedy(begun, { maxNewTokens: room, eosTokenIds: [eos], signal });
      rows.forEach((row, i) => (texts[row] = tokenizer.decode(made[i].filter((id) => id !== eos && id >= 0)).trim()));
    } finally {
      decoder.dispose();
      embeds.dispose();
    }
  }
  return { texts, first };
}
