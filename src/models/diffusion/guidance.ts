import * as tf from '@tensorflow/tfjs';

/** Classifier-free guidance: ε_u + s (ε_c - ε_u) (Ho and Salimans 2022, written as DreamLLM does). */
export function guide(conditional: tf.Tensor4D, unconditional: tf.Tensor4D, scale: number): tf.Tensor4D {
  return tf.tidy(() => unconditional.add<tf.Tensor4D>(conditional.sub<tf.Tensor4D>(unconditional).mul(scale)));
}

/**
 * Moves each image's standard deviation towards that of the conditional prediction, by the share `phi` (Lin et al. 2024, eqs. 15 and 16).
 * Over-exposure by large guidance scales goes away.
 */
export function rescaleGuidance(guided: tf.Tensor4D, conditional: tf.Tensor4D, phi: number): tf.Tensor4D {
  if (phi === 0) return guided.clone();
  return tf.tidy(() => {
    // The biased deviation serves as well as the unbiased one: only the ratio of two over equally many values counts.
    const deviation = (t: tf.Tensor4D) => tf.moments(t, [1, 2, 3], true).variance.sqrt();
    const factor = deviation(conditional).div(deviation(guided)).mul(phi).add(1 - phi); // [images, 1, 1, 1]
    return guided.mul(factor);
  });
}
