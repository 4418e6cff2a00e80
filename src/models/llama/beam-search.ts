import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs';
import type { Decoder } from './decoder.js';
import type { GenerateOptions } from './generate.js';

export interface BeamOptions extends Omit<GenerateOptions, 'onTokens'> {
  numBeams: number;
  /** Scores are divided by length ** lengthPenalty, so more than 0 favours longer sequences. Default 1. */
  lengthPenalty?: number;
  /**
   * When a sequence with `numBeams` finished hypotheses is done: at once (true), when the best open beam could not beat them at its
   * present length (false, the default), or at any length up to the limit ('never').
   */
  earlyStopping?: boolean | 'never';
  /** Tokens of the prompt that count as length. Default 0; transformers before 4.36 counted all of them when it was given token ids. */
  countedPromptTokens?: number;
}

export interface Hypothesis {
  /** New tokens, the end token included. */
  tokens: number[];
  /** Sum of log-probabilities divided by length ** lengthPenalty. */
  score: number;
}

/**
 * Beam search as transformers has it (`BeamSearchScorer`): from the most likely continuations of all beams, end tokens among the first
 * `numBeams` close a hypothesis, and the first `numBeams` others stay open. Returns the best hypothesis of each sequence.
 */
export async function beamSearch(decoder: Decoder, options: BeamOptions): Promise<Hypothesis[]> {
  const { numBeams, maxNewTokens, eosTokenIds = [], signal } = options;
  if (!Number.isInteger(numBeams) || numBeams < 1) throw new Error(`beamSearch: expected a number of beams from 1, found ${numBeams}.`);
  const ends = new Set(eosTokenIds);
  const candidates = Math.max(2, 1 + ends.size) * numBeams;
  const count = decoder.sequences;
  const finished = Array.from({ length: count }, () => new Finished(options));
  const done = finished.map(() => false);
  // All beams start from the same prompt, so only the first of each sequence counts in the first step.
  let beams: Beam[][] = finished.map(() => Array.from({ length: numBeams }, (_, i) => ({ tokens: [], sum: i === 0 ? 0 : -1e9 })));

  let logits = await decoder.prefill();
  try {
    const expand = Array.from({ length: count * numBeams }, (_, i) => Math.floor(i / numBeams));
    decoder.reorder(expand);
    logits = swap(logits, tf.tidy(() => tf.gather(logits, tf.tensor1d(expand, 'int32'))));

    for (let length = 1; length <= maxNewTokens; length++) {
      await setImmediate(); // lets timers and an interruption through
      signal?.throwIfAborted();
      const best = await bestContinuations(logits, beams, candidates);
      const origins: number[] = [];
      beams = beams.map((open, sequence) => {
        if (done[sequence]) {
          origins.push(...open.map(() => sequence * numBeams));
          return open;
        }
        const next: Beam[] = [];
        for (const [rank, { beam, token, sum }] of best[sequence].entries()) {
          if (next.length === numBeams) break;
          const tokens = [...open[beam].tokens, token];
          if (!ends.has(token)) {
            next.push({ tokens, sum });
            origins.push(sequence * numBeams + beam);
          } else if (rank < numBeams) finished[sequence].add({ tokens, sum });
        }
        if (next.length < numBeams) throw new Error(`beamSearch: ${best[sequence].length} continuations do not keep ${numBeams} beams open. Use fewer beams or end tokens.`);
        done[sequence] = finished[sequence].isDone(best[sequence][0].sum, length);
        return next;
      });
      if (done.every(Boolean) || length === maxNewTokens) break;
      decoder.reorder(origins);
      const last = beams.flatMap((open, sequence) => open.map(({ tokens }) => (done[sequence] ? 0 : tokens.at(-1)!)));
      logits = swap(logits, await decoder.step(last));
    }
  } finally {
    logits.dispose();
  }
  beams.forEach((open, sequence) => {
    if (!done[sequence]) for (const beam of open) finished[sequence].add(beam);
  });
  return finished.map((hypotheses) => hypotheses.best());
}

/** An open sequence and the sum of its log-probabilities. */
interface Beam {
  tokens: number[];
  sum: number;
}

const swap = (old: tf.Tensor2D, next: tf.Tensor2D): tf.Tensor2D => {
  old.dispose();
  return next;
};

/** For each sequence its `count` best next tokens over all beams, best first. logits [sequences·beams, vocab] */
async function bestContinuations(logits: tf.Tensor2D, beams: Beam[][], count: number) {
  const vocab = logits.shape[1];
  const numBeams = beams[0].length;
  const top = tf.tidy(() => {
    const sums = tf.tensor2d(beams.flat().map(({ sum }) => [sum]));
    const scores = tf.logSoftmax(logits).add(sums).reshape([beams.length, numBeams * vocab]);
    return tf.topk(scores, Math.min(count, numBeams * vocab));
  });
  const [values, indices] = await Promise.all([top.values.array() as Promise<number[][]>, top.indices.array() as Promise<number[][]>]);
  tf.dispose(top);
  return values.map((row, sequence) =>
    row.map((sum, rank) => {
      const index = indices[sequence][rank];
      return { beam: Math.floor(index / vocab), token: index % vocab, sum };
    }),
  );
}

/** The best `numBeams` finished hypotheses of one sequence. */
class Finished {
  #hypotheses: Hypothesis[] = [];

  constructor(private readonly options: BeamOptions) {}

  #normalised(sum: number, length: number): number {
    const { lengthPenalty = 1, countedPromptTokens = 0 } = this.options;
    return sum / (length + countedPromptTokens) ** lengthPenalty;
  }

  add({ tokens, sum }: Beam): void {
    const score = this.#normalised(sum, tokens.length);
    const { numBeams } = this.options;
    if (this.#hypotheses.length === numBeams && score <= this.#worst()) return;
    this.#hypotheses.push({ tokens, score });
    this.#hypotheses.sort((a, b) => a.score - b.score);
    if (this.#hypotheses.length > numBeams) this.#hypotheses.shift();
  }

  #worst = () => this.#hypotheses[0].score;

  /** Whether no open beam can enter any more; `bestSum` is the best continuation's, of `length` tokens. */
  isDone(bestSum: number, length: number): boolean {
    const { numBeams, earlyStopping = false, lengthPenalty = 1, maxNewTokens } = this.options;
    if (this.#hypotheses.length < numBeams) return false;
    if (earlyStopping === true) return true;
    // A sum of log-probabilities is negative: with a positive penalty the longest sequence could score highest.
    const at = earlyStopping === 'never' && lengthPenalty > 0 ? maxNewTokens : length;
    return this.#worst() >= this.#normalised(bestSum, at);
  }

  best(): Hypothesis {
    return this.#hypotheses.at(-1)!;
  }
}
