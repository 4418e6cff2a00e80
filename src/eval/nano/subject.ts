import * as tf from '@tensorflow/tfjs';
import type { RgbImage } from '../../core/images.js';
import { crossEntropy, embedding } from '../../core/ops/index.js';
import { loadImage } from '../../data/images.js';
import type { ImageRef } from '../../data/types.js';
import { untrainedTokens, without } from '../../dreamllm/comprehend.js';
import { ignored } from '../../dreamllm/layout.js';
import type { DreamModel } from '../../dreamllm/model.js';
import { embedPrompts, promptSequence, type Prompt } from '../../dreamllm/prompt.js';
import { decoderOf, greedy, KvCache } from '../../models/llama/index.js';
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

export interface ContinueOptions {
  readonly maxNewTokens: number;
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/** Continues many prompts by their most likely tokens, in batches of similar length, padded on the left. Gives what `continueText` gives for each alone. */
export async function continueAll({ model, tokenizer }: Subject, prompts: readonly Prompt[], { maxNewTokens, batchSize = 32, signal }: ContinueOptions): Promise<string[]> {
  const { config } = model;
  const { eos, pad, dreamStart } = config.tokens;
  const sequences = prompts.map((prompt) => promptSequence(prompt, tokenizer, config));
  const texts = new Array<string>(prompts.length).fill('');
  const language = without(model.language, [...untrainedTokens(config), dreamStart]);
  for (const rows of bySimilarLength(sequences, batchSize)) {
    signal?.throwIfAborted();
    const length = sequences[rows.at(-1)!].tokenIds.length;
    const padding = rows.map((row) => Array<number>(length - sequences[row].tokenIds.length).fill(pad));
    const padded = rows.map((row, i) => ({ ...sequences[row], tokenIds: [...padding[i], ...sequences[row].tokenIds], labels: [...padding[i].map(() => ignored), ...sequences[row].labels] }));
    const { embeds } = embedPrompts(model, padded);
    const mask = padding.map((pads) => [...pads.map(() => 0), ...Array<number>(length - pads.length).fill(1)]);
    const decoder = decoderOf(language, { embeds }, mask);
    try {
      const room = Math.min(maxNewTokens, config.language.maxPositions - length);
      const made = await greedy(decoder, { maxNewTokens: room, eosTokenIds: [eos], signal });
      rows.forEach((row, i) => (texts[row] = tokenizer.decode(made[i].filter((id) => id !== eos && id >= 0)).trim()));
    } finally {
      decoder.dispose();
      embeds.dispose();
    }
  }
  return texts;
}

/** Numbers of the sequences in batches, the shortest first. */
function bySimilarLength(sequences: readonly { tokenIds: readonly number[] }[], batchSize: number): number[][] {
  const order = sequences.map((_, i) => i).sort((a, b) => sequences[a].tokenIds.length - sequences[b].tokenIds.length);
  return Array.from({ length: Math.ceil(order.length / batchSize) }, (_, i) => order.slice(i * batchSize, (i + 1) * batchSize));
}

export interface Candidate {
  readonly prompt: Prompt;
  /** What might come next, as it is spelt in running text: mostly with a leading blank. */
  readonly answer: string;
}

/**
 * Log-probabilities of the tokens of each answer, given its prompt, and of the `</s>` behind it unless `end` is false. Candidates with the same prompt share
 * one pass over it. `batchSize` counts prompts; the numbers do not depend on it beyond rounding. Throws where prompt and answer exceed the model's positions.
 */
export async function logProbabilities(
  { model, tokenizer }: Subject, candidates: readonly Candidate[], { end = true, batchSize = 16, signal }: { end?: boolean; batchSize?: number; signal?: AbortSignal } = {},
): Promise<number[][]> {
  const { config, language } = model;
  const limit = config.language.maxPositions;
  const byPrompt = new Map<Prompt, number[]>();
  for (const [i, { prompt }] of candidates.entries()) {
    const rows = byPrompt.get(prompt);
    if (rows) rows.push(i);
    else byPrompt.set(prompt, [i]);
  }
  const asked = [...byPrompt].map(([prompt, rows]) => ({ sequence: promptSequence(prompt, tokenizer, config), rows }));
  const answers = candidates.map(({ answer }) => {
    const ids = tokenizer.encode(answer);
    if (ids.length === 0) throw new Error(`An answer needs at least one token, found "${answer}".`);
    return end ? [...ids, config.tokens.eos] : ids;
  });
  for (const { sequence, rows } of asked) {
    const longest = rows.reduce((a, b) => (answers[b].length > answers[a].length ? b : a));
    const length = sequence.tokenIds.length + answers[longest].length;
    if (length > limit) throw new Error(`Prompt and answer take ${length} positions; the model has ${limit}. Shorten "${candidates[longest].answer}".`);
  }

  const scores = answers.map(() => [] as number[]);
  for (const batch of bySimilarLength(asked.map(({ sequence }) => sequence), batchSize)) {
    signal?.throwIfAborted();
    const group = batch.flatMap((number, prompt) => asked[number].rows.map((row) => ({ row, prompt, begin: asked[number].sequence.tokenIds.length })));
    const cache = new KvCache();
    const { embeds } = embedPrompts(model, batch.map((number) => asked[number].sequence));
    try {
      // Padding is on the right, so no token sees it here, and the mask hides it from the answers.
      const states = await language.forward(embeds, { cache });
      const padded = states.shape[1];
      await score(states, group.map(({ row, prompt, begin }) => ({ row, id: answers[row][0], position: prompt * padded + begin - 1 })));

      const tokens = Math.max(...group.map(({ row }) => answers[row].length)) - 1;
      if (tokens === 0) continue;
      cache.reorder(group.map(({ prompt }) => prompt));
      const ids = group.map(({ row }) => Array.from({ length: tokens }, (_, k) => answers[row][k] ?? config.tokens.pad));
      const mask = tf.tensor2d(group.map(({ begin }) => Array.from({ length: padded + tokens }, (_, k) => Number(k < begin || k >= padded))), undefined, 'int32');
      const read = tf.tidy(() => language.embed(tf.tensor2d(ids, undefined, 'int32')));
      try {
        const positions = group.map(({ begin }) => ids[0].map((_, k) => begin + k));
        const behind = await language.forward(read, { cache, mask, positions });
        await score(behind, group.flatMap(({ row }, i) => answers[row].slice(1).map((id, k) => ({ row, id, position: i * tokens + k }))));
      } finally {
        tf.dispose([read, mask]);
      }
    } finally {
      cache.dispose();
      embeds.dispose();
    }
  }
  return scores;

  /** Adds the log-probability of each target at its row of the flattened states, which it disposes. */
  async function score(states: tf.Tensor3D, targets: readonly { row: number; id: number; position: number }[]): Promise<void> {
    const losses = tf.tidy(() => {
      const [batch, tokens, dim] = states.shape;
      const chosen = embedding(states.reshape([batch * tokens, dim]), tf.tensor1d(targets.map(({ position }) => position), 'int32')) as tf.Tensor2D;
      return crossEntropy(language.head(chosen), tf.tensor1d(targets.map(({ id }) => id), 'int32'));
    });
    states.dispose();
    const values = await losses.data();
    losses.dispose();
    targets.forEach(({ row }, i) => scores[row].push(-values[i]));
  }
}
