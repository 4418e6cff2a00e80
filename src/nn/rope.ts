import * as tf from '@tensorflow/tfjs';

export interface RopeConfig {
  headDim: number;
  theta: number;
  /** Linear position interpolation (Chen et al. 2023): positions are divided by it. Default 1. */
  scaling?: number;
}

export interface RopeAngles {
  /** [batch or 1, tokens, headDim]; the second half of a head repeats the first. */
  cos: tf.Tensor3D;
  sin: tf.Tensor3D;
}

/**
 * Cosines and sines of `position · theta^(−2i / headDim)`. Positions are one list for all sequences or one for each. Angles are computed in
 * float64: in float32 those of late positions lose digits.
 */
export function ropeAngles(positions: readonly number[] | readonly (readonly number[])[], { headDim, theta, scaling = 1 }: RopeConfig): RopeAngles {
  const rows = (Array.isArray(positions[0]) ? positions : [positions]) as readonly (readonly number[])[];
  const tokens = rows[0].length;
  const half = headDim / 2;
  const frequencies = Float64Array.from({ length: half }, (_, i) => theta ** ((-2 * i) / headDim) / scaling);
  const cos = new Float32Array(rows.length * tokens * headDim);
  const sin = new Float32Array(cos.length);
  let at = 0;
  for (const row of rows) {
    for (const position of row) {
      for (let i = 0; i < half; i++) {
        const angle = position * frequencies[i];
        cos[at + i] = cos[at + half + i] = Math.cos(angle);
        sin[at + i] = sin[at + half + i] = Math.sin(angle);
      }
      at += headDim;
    }
  }
  const shape: [number, number, number] = [rows.length, tokens, headDim];
  return { cos: tf.tensor3d(cos, shape), sin: tf.tensor3d(sin, shape) };
}
