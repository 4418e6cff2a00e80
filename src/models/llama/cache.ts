import * as tf from '@tensorflow/tfjs';
import { cacheAppend, type Cached } from '../../core/ops/index.js';

/**
 * Keys (after the rotary embedding) and values of the tokens seen so far, layer by layer, [batch, tokens, kvHeads·headDim] each. There is
 * room behind them where the backend writes new ones in place. Holds its tensors until `dispose`.
 */
export class KvCache {
  #layers: { k: tf.Tensor3D; v: tf.Tensor3D }[] = [];
  #length = 0;

  /** Tokens seen. */
  get length(): number {
    return this.#length;
  }

  /** Adds the keys and values of new tokens to one layer, and gives all of it, of which the first `keys` rows count. They stay the cache's. */
  append(layer: number, k: tf.Tensor3D, v: tf.Tensor3D): { k: tf.Tensor3D; v: tf.Tensor3D; keys: number } {
    const past = this.#layers[layer];
    const joined = { k: tf.keep(cacheAppend(past?.k, k, this.#length)), v: tf.keep(cacheAppend(past?.v, v, this.#length)) };
    if (past) tf.dispose([past.k, past.v]);
    this.#layers[layer] = joined;
    return { ...joined, keys: this.#length + k.shape[1] };
  }

  /** Runs one layer for the next token of each sequence; `step` gets what is held so far and returns it with the new token's. */
  extend(layer: number, step: (held: Cached) => { y: tf.Tensor3D; keys: tf.Tensor3D; values: tf.Tensor3D }): tf.Tensor3D {
    const past = this.#layers[layer];
    const { y, keys, values } = step({ keys: past?.k, values: past?.v, length: this.#length });
    this.#layers[layer] = { k: tf.keep(keys), v: tf.keep(values) };
    if (past) tf.dispose([past.k, past.v]);
    return y;
  }

  /** Counts new tokens once all layers have them. */
  advance(tokens: number): void {
    this.#length += tokens;
  }

  /** A copy of the keys and values of one layer, which the caller disposes. */
  layer(index: number): { k: tf.Tensor3D; v: tf.Tensor3D } {
    const { k, v } = this.#layers[index];
    return { k: this.#held(k), v: this.#held(v) };
  }

  /** Without the room behind what is held. */
  #held = (x: tf.Tensor3D): tf.Tensor3D => x.slice([0, 0, 0], [-1, this.#length, -1]);

  /** Makes sequence i continue what sequence `rows[i]` was, as beam search needs it; more rows than before repeat sequences. */
  reorder(rows: readonly number[]): void {
    const indices = tf.tensor1d(rows as number[], 'int32');
    for (const layer of this.#layers) {
      for (const name of ['k', 'v'] as const) {
        const old = layer[name];
        layer[name] = tf.keep(tf.tidy(() => tf.gather(this.#held(old), indices)));
        old.dispose();
      }
    }
    indices.dispose();
  }

  dispose(): void {
    for (const { k, v } of this.#layers) tf.dispose([k, v]);
    this.#layers = [];
    this.#length = 0;
  }
}
