import * as tf from '@tensorflow/tfjs';
import { KvCache } from './cache.js';
import type { LlamaConfig } from './config.js';
import { embedTokens, llamaStates, lmHead, type LlamaOptions, type LlamaParams } from './model.js';

/** Sequences that are continued token by token. Logits are [sequences, vocab]; the caller disposes them. */
export interface Decoder {
  /** How many sequences there are. */
  readonly sequences: number;
  /** Logits after the prompt. Called first, once. */
  prefill(): Promise<tf.Tensor2D>;
  /** Logits after one more token in each sequence. */
  step(tokenIds: readonly number[]): Promise<tf.Tensor2D>;
  /** Makes sequence i continue what sequence `rows[i]` was. */
  reorder(rows: readonly number[]): void;
  dispose(): void;
}

/** What a decoder starts from: token ids, or embeddings [batch, tokens, dim] that stay the caller's. */
export type Prompt = { ids: readonly (readonly number[])[] } | { embeds: tf.Tensor3D };

/** Pads on the left with `padId`, as continuing a batch needs it. The mask is 0 at padding. */
export function padLeft(sequences: readonly (readonly number[])[], padId: number): { ids: number[][]; mask: number[][] } {
  const tokens = Math.max(...sequences.map(({ length }) => length));
  const pad = (sequence: readonly number[], values: readonly number[], by: number) => [...Array(tokens - sequence.length).fill(by), ...values];
  return { ids: sequences.map((s) => pad(s, s, padId)), mask: sequences.map((s) => pad(s, s.map(() => 1), 0)) };
}

/** Positions that do not count padding: the sum of the mask so far less one, and 1 at padding, as transformers' `generate` has them. */
export function positionsFromMask(mask: readonly (readonly number[])[]): number[][] {
  return mask.map((row) => {
    let seen = 0;
    return row.map((keep) => {
      seen += keep;
      return keep ? seen - 1 : 1;
    });
  });
}

/** One forward pass: embeds [batch, tokens, dim] -> states after the final norm. */
type Forward = (embeds: tf.Tensor3D, options: LlamaOptions) => Promise<tf.Tensor3D>;

export interface DecoderParts {
  embed(ids: tf.Tensor2D): tf.Tensor3D;
  forward: Forward;
  /** states […, dim] -> logits […, vocab] */
  head(states: tf.Tensor2D): tf.Tensor2D;
}

/**
 * Continues prompts with a key-value cache. `mask` (1 keeps, 0 drops) is needed where prompts of different lengths were padded, on the
 * left; positions then follow from it.
 */
export function llamaDecoder(params: LlamaParams, config: LlamaConfig, prompt: Prompt, mask?: readonly (readonly number[])[]): Decoder {
  return decoderOf(
    {
      embed: (ids) => embedTokens(params, ids),
      forward: async (embeds, options) => llamaStates(params, embeds, config, options),
      head: (states) => lmHead(params, states),
    },
    prompt,
    mask,
  );
}

/** A decoder from any way to run the model. */
export function decoderOf({ embed, forward, head }: DecoderParts, prompt: Prompt, mask?: readonly (readonly number[])[]): Decoder {
  const cache = new KvCache();
  let rows = 'ids' in prompt ? prompt.ids.length : prompt.embeds.shape[0];
  const tokens = 'ids' in prompt ? prompt.ids[0].length : prompt.embeds.shape[1];
  let seen = mask?.map((row) => [...row]); // grows by a 1 with every token
  if (seen && (seen.length !== rows || seen.some((row) => row.length !== tokens || row.at(-1) !== 1))) {
    throw new Error(`Decoder: expected a mask of ${rows} rows of ${tokens}, each with a 1 at its end. Pad prompts on the left with padLeft().`);
  }

  const run = async (embeds: tf.Tensor3D): Promise<tf.Tensor2D> => {
    const newTokens = embeds.shape[1];
    const positions = seen && positionsFromMask(seen).map((row) => row.slice(-newTokens));
    const maskTensor = seen && tf.tensor2d(seen, undefined, 'int32');
    const states = await forward(embeds, { cache, positions, mask: maskTensor });
    maskTensor?.dispose();
    const logits = tf.tidy(() => head(states.slice([0, newTokens - 1, 0], [-1, 1, -1]).reshape([states.shape[0], states.shape[2]])));
    states.dispose();
    return logits;
  };

  const runIds = async (ids: readonly (readonly number[])[]): Promise<tf.Tensor2D> => {
    const embeds = tf.tidy(() => embed(tf.tensor2d(ids as number[][], undefined, 'int32')));
    try {
      return await run(embeds);
    } finally {
      embeds.dispose();
    }
  };

  return {
    get sequences() {
      return rows;
    },
    prefill() {
      if (cache.length > 0) throw new Error('Decoder: the prompt was run before. Make a new decoder for each generation.');
      return 'ids' in prompt ? runIds(prompt.ids) : run(prompt.embeds);
    },
    step(tokenIds) {
      if (tokenIds.length !== rows) throw new Error(`Decoder: expected ${rows} token ids, one a sequence, found ${tokenIds.length}.`);
      seen?.forEach((row) => row.push(1));
      return runIds(tokenIds.map((id) => [id]));
    },
    reorder(order) {
      rows = order.length;
      seen = seen && order.map((row) => [...seen![row]]);
      cache.reorder(order);
    },
    dispose: () => cache.dispose(),
  };
}
