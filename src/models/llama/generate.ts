import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs';
import { random } from '../../core/random.js';
import type { Decoder } from './decoder.js';

export interface GenerateOptions {
  maxNewTokens: number;
  /** A sequence that emits one of them is finished. Default: none. */
  eosTokenIds?: readonly number[];
  signal?: AbortSignal;
  /** Told the new token of each sequence; −1 for a finished one. */
  onTokens?(tokenIds: readonly number[]): void;
}

export interface SampleOptions extends GenerateOptions {
  seed: number;
  /** Default 1. */
  temperature?: number;
  /** Nucleus sampling (Holtzman et al. 2020): the fewest most likely tokens whose probabilities reach it. Default 1, all. */
  topP?: number;
}

/** Picks a token for each sequence from logits [sequences, vocab]. */
export type Choose = (logits: tf.Tensor2D, step: number) => Promise<ArrayLike<number>>;

/** Continues each sequence by its most likely tokens. Returns the new tokens, the end token included. The decoder stays the caller's. */
export const greedy = (decoder: Decoder, options: GenerateOptions): Promise<number[][]> => generate(decoder, argmax, options);

const argmax: Choose = async (logits) => {
  const best = tf.tidy(() => logits.argMax(1));
  const ids = await best.data();
  best.dispose();
  return ids;
};

/** Continues each sequence by draws from the model. The same seed gives the same tokens. */
export const sample = (decoder: Decoder, { seed, temperature = 1, topP = 1, ...options }: SampleOptions): Promise<number[][]> => {
  if (!(temperature > 0)) throw new Error(`sample: expected a temperature above 0, found ${temperature}. For the most likely tokens use greedy().`);
  if (!(topP > 0 && topP <= 1)) throw new Error(`sample: expected topP above 0 and up to 1, found ${topP}.`);
  return generate(decoder, drawWith(seed, temperature, topP), options);
};

const drawWith = (seed: number, temperature: number, topP: number): Choose => async (logits, step) => {
  const [sequences, vocab] = logits.shape;
  const values = await logits.data();
  return Array.from({ length: sequences }, (_, row) => {
    const draw = random(seed, 'sample', row, step).uniform();
    return drawToken(values.subarray(row * vocab, (row + 1) * vocab) as Float32Array, temperature, topP, draw);
  });
};

/** The token at `draw` in [0, 1) of the distribution softmax(logits / temperature), cut to the nucleus of `topP`. */
export function drawToken(logits: Float32Array, temperature: number, topP: number, draw: number): number {
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!Number.isFinite(top)) throw new Error('sample: the logits are not finite. The weights or the prompt hold NaN or infinity.');
  const weights = Float64Array.from(logits, (x) => Math.exp((x - top) / temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  if (topP === 1) return indexAt(weights, draw * total);
  // Tokens below this weight have together less than the mass that is cut off, so the nucleus lies among the others: only they are sorted.
  const negligible = ((1 - topP) * total) / weights.length;
  const order = Uint32Array.from(weights.keys()).filter((i) => weights[i] > negligible).sort((a, b) => weights[b] - weights[a] || a - b);
  let kept = 0;
  let mass = 0;
  while (kept < order.length && (kept === 0 || mass < topP * total)) mass += weights[order[kept++]];
  const nucleus = order.subarray(0, kept);
  return nucleus[indexAt(Float64Array.from(nucleus, (i) => weights[i]), draw * mass)];
}

/** The first index whose running sum passes `target`. */
function indexAt(weights: Float64Array, target: number): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i];
    if (target < sum) return i;
  }
  return weights.findLastIndex((weight) => weight > 0); // the last rounding error
}

/** Continues sequences by any rule. Reads back one token a sequence and step. */
export async function generate(decoder: Decoder, choose: Choose, { maxNewTokens, eosTokenIds = [], signal, onTokens }: GenerateOptions): Promise<number[][]> {
  const ends = new Set(eosTokenIds);
  const made: number[][] = Array.from({ length: decoder.sequences }, () => []);
  const finished = made.map(() => false);
  let logits: tf.Tensor2D | undefined;
  try {
    for (let step = 0; step < maxNewTokens; step++) {
      await setImmediate(); // lets timers, an interruption and drawing through
      signal?.throwIfAborted();
      // A finished sequence repeats its end token unseen until all are done.
      logits = step === 0 ? await decoder.prefill() : await decoder.step(made.map((tokens) => tokens.at(-1)!));
      const ids = await choose(logits, step);
      logits.dispose();
      logits = undefined;
      onTokens?.(made.map((_, row) => (finished[row] ? -1 : ids[row])));
      made.forEach((tokens, row) => {
        if (finished[row]) return;
        tokens.push(ids[row]);
        finished[row] = ends.has(ids[row]);
      });
      if (finished.every(Boolean)) break;
    }
  } finally {
    logits?.dispose();
  }
  return made;
}
