import * as tf from '@tensorflow/tfjs';
import { embedding } from '../core/ops/index.js';
import { shapes } from '../core/shapes.js';

/** Vectors that take the place of token embeddings. Rows count the flattened [batch · tokens] axis. */
export interface Replacements {
  /** Dream queries [1, queries, dim], put behind each of `dreamStarts`, the rows of first queries. */
  queries?: tf.Tensor3D;
  dreamStarts?: readonly number[];
  /** Projected image features [images, patches, dim]; the k-th goes to the k-th of `imageStarts`. */
  features?: tf.Tensor3D;
  imageStarts?: readonly number[];
}

/**
 * Puts dream queries and image features in the place of token embeddings (modeling_dreamllm.py:1079-1146). embeds [batch, tokens, dim] -> same.
 * One lookup in the joined rows of all sources, so that gradients reach tokens, queries and features alike.
 */
export function splice(embeds: tf.Tensor3D, { queries, dreamStarts = [], features, imageStarts = [] }: Replacements): tf.Tensor3D {
  const { batch, tokens, dim } = shapes({ embeds: [embeds, 'batch tokens dim'] });
  const rows = batch * tokens;
  const index = Int32Array.from({ length: rows }, (_, i) => i);
  const sources: tf.Tensor[] = [embeds.reshape([rows, dim])];
  let next = rows;
  const place = (start: number, count: number, from: number) => {
    if (Math.floor(start / tokens) !== Math.floor((start + count - 1) / tokens)) throw new Error(`A block of ${count} at row ${start} runs past the end of its sequence of ${tokens} tokens.`);
    for (let i = 0; i < count; i++) index[start + i] = from + i;
  };
  if (dreamStarts.length) {
    if (!queries) throw new Error(`${dreamStarts.length} dream blocks but no queries to put there.`);
    const count = shapes({ queries: [queries, `1 queries ${dim}` as '1 queries _'] }).queries;
    for (const start of dreamStarts) place(start, count, next);
    sources.push(queries.reshape([count, dim]));
    next += count;
  }
  if (imageStarts.length) {
    if (features?.shape[0] !== imageStarts.length) throw new Error(`${imageStarts.length} image blocks but features of ${features?.shape[0] ?? 0} images.`);
    const { patches } = shapes({ features: [features, `images patches ${dim}` as 'images patches _'] });
    imageStarts.forEach((start, k) => place(start, patches, next + k * patches));
    sources.push(features.reshape([imageStarts.length * patches, dim]));
  }
  if (sources.length === 1) return embeds.clone();
  return embedding(tf.concat(sources, 0), tf.tensor1d(index, 'int32')).reshape([batch, tokens, dim]);
}

/** The states of `count` positions from each of `starts` on. states [batch, tokens, dim] -> [starts, count, dim] */
export function gatherBlocks(states: tf.Tensor3D, starts: readonly number[], count: number): tf.Tensor3D {
  const [batch, tokens, dim] = states.shape;
  const index = Int32Array.from({ length: starts.length * count }, (_, i) => starts[Math.floor(i / count)] + (i % count));
  return embedding(states.reshape([batch * tokens, dim]), tf.tensor1d(index, 'int32')).reshape([starts.length, count, dim]);
}
