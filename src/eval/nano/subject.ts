import * as tf from '@tensorflow/tfjs';
import type { RgbImage } from '../../core/images.js';
import { crossEntropy, embedding } from '../../core/ops/index.js';
import { loadImage } from '../../data/images.js';
import type { ImageRef } from '../../data/types.js';
import { untrainedTokens, without } from '../../dreamllm/comprehend.js';
import { ignored } from '../../dreamllm/layout.js';
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
 * Mean log-probability of the tokens of each answer and of the `</s>` behind it, given its prompt, in one pass over each. The mean, so that a long answer is
 * not unlikely for its length.
 */
export async function scoreAll({ model, tokenizer }: Subject, candidates: readonly Candidate[], { batchSize = 64, signal }: Pick<ContinueOptions, 'batchSize' | 'signal'> = {}): Promise<number[]> {
  const { config, language } = model;
  const laidOut = candidates.map(({ prompt, answer }) => {
    const sequence = promptSequence(prompt, tokenizer, config);
    const answerIds = [...tokenizer.encode(answer), config.tokens.eos];
    const tokenIds = [...sequence.tokenIds, ...answerIds];
    if (tokenIds.length > config.language.maxPositions) throw new Error(`Prompt and answer take ${tokenIds.length} positions; the model has ${config.language.maxPositions}. Shorten "${answer}".`);
    return { sequence: { ...sequence, tokenIds, labels: [...sequence.labels, ...answerIds] }, begin: sequence.tokenIds.length, tokenIds };
  });
  const scores = new Array<number>(candidates.length);
  for (const rows of bySimilarLength(laidOut, batchSize)) {
    signal?.throwIfAborted();
    const { embeds } = embedPrompts(model, rows.map((row) => laidOut[row].sequence));
    const states = await language.forward(embeds, {});
    const [, tokens, dim] = states.shape;
    const targets = rows.flatMap((row, i) => laidOut[row].tokenIds.slice(laidOut[row].begin).map((id, k) => ({ row, id, position: i * tokens + laidOut[row].begin + k - 1 })));
    const losses = tf.tidy(() => {
      const chosen = embedding(states.reshape([rows.length * tokens, dim]), tf.tensor1d(targets.map(({ position }) => position), 'int32')) as tf.Tensor2D;
      return crossEntropy(language.head(chosen), tf.tensor1d(targets.map(({ id }) => id), 'int32'));
    });
    const values = await losses.data();
    tf.dispose([embeds, states, losses]);
    for (const row of rows) scores[row] = 0;
    targets.forEach(({ row }, i) => (scores[row] -= values[i] / (laidOut[row].tokenIds.length - laidOut[row].begin)));
  }
  return scores;
}
