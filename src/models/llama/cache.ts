import * as tf from '@tensorflow/tfjs';

/**
 * Keys (after the rotary embedding) and values of the tokens seen so far, layer by layer, [batch, tokens, kvHeads·headDim] each.
 * Holds its tensors until `dispose`.
 */
export class KvCache {
  #layers: { k: tf.Tensor3D; v: tf.Tensor3D }[] = [];
  #length = 0;

  /** Tokens seen. */
  get length(): number {
    return this.#length;
  }

  /** Adds the keys and values of new tokens to one layer, and gives all of it. They stay the cache's. */
  append(layer: number, k: tf.Tensor3D, v: tf.Tensor3D): { k: tf.Tensor3D; v: tf.Tensor3D } {
    const past = this.#layers[layer];
    const joined = past ? { k: tf.concat([past.k, k], 1), v: tf.concat([past.v, v], 1) } : { k: k.clone(), v: v.clone() };
    tf.keep(joined.k);
    tf.keep(joined.v);
    if (past) tf.dispose([past.k, past.v]);
    this.#layers[layer] = joined;
    return joined;
  }

  /** Counts new tokens once all layers have them. */
  advance(tokens: number): void {
    this.#length += tokens;
  }

  /** Keys and values of one layer, still the cache's. */
  layer(index: number): { k: tf.Tensor3D; v: tf.Tensor3D } {
    return this.#layers[index];
  }

  /** Makes sequence i continue what sequence `rows[i]` was, as beam search needs it; more rows than before repeat sequences. */
  reorder(rows: readonly number[]): void {
    const indices = tf.tensor1d(rows as number[], 'int32');
    for (const layer of this.#layers) {
      for (const name of ['k', 'v'] as const) {
        const old = layer[name];
        layer[name] = tf.keep(tf.gather(old, indices));
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
