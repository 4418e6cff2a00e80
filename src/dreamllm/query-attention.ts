import * as tf from '@tensorflow/tfjs';
import type { Observer } from '../models/diffusion/index.js';

/**
 * Which part of a picture looks at which dream query: the U-Net's own cross-attention, averaged over heads, layers and steps (Figure 6 of the
 * paper). Pass `observer` to `drawFrom` or `draw`, then read `maps`. Dispose it after use.
 */
export class QueryAttention {
  #sum: tf.Tensor4D | undefined;
  #count = 0;

  /** `side`: height and width of the maps, usually those of the latents. With guidance the last `images` rows are the conditional ones. */
  constructor(private readonly images: number, private readonly side: number) {}

  readonly observer: Observer = {
    attention: (name, query, key, numHeads) => {
      if (!name.endsWith('attn2')) return; // attn1 is self-attention
      const before = this.#sum;
      this.#sum = tf.keep(tf.tidy(() => {
        const map = this.#map(query, key, numHeads);
        return before ? before.add<tf.Tensor4D>(map) : map;
      }));
      before?.dispose();
      this.#count++;
    },
  };

  /** Attention of every position to every query. query [rows, positions, dim], key [rows, queries, dim] -> [images, side, side, queries] */
  #map(query: tf.Tensor3D, key: tf.Tensor3D, numHeads: number): tf.Tensor4D {
    const [rows, positions, dim] = query.shape;
    const queries = key.shape[1];
    const width = Math.sqrt(positions);
    if (!Number.isInteger(width)) throw new Error(`Maps of attention need square latents, found ${positions} positions.`);
    const heads = (x: tf.Tensor3D) =>
      x.slice([rows - this.images, 0, 0]).reshape([this.images, x.shape[1], numHeads, dim / numHeads]).transpose([0, 2, 1, 3]);
    const scores = tf.matMul(heads(query), heads(key), false, true).div(Math.sqrt(dim / numHeads));
    const shares = tf.softmax(scores).mean(1).reshape<tf.Tensor4D>([this.images, width, width, queries]);
    return tf.image.resizeBilinear(shares, [this.side, this.side], false, true);
  }

  /** [images, queries, side, side]; over the queries, the values at a position add up to 1. */
  async maps(): Promise<number[][][][]> {
    if (!this.#sum) throw new Error('No attention was seen. Pass `observer` to a drawing first.');
    const mean = tf.tidy(() => this.#sum!.div(this.#count).transpose([0, 3, 1, 2]));
    const values = (await mean.array()) as number[][][][];
    mean.dispose();
    return values;
  }

  dispose(): void {
    this.#sum?.dispose();
    this.#sum = undefined;
    this.#count = 0;
  }
}
