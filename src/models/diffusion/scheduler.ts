import * as tf from '@tensorflow/tfjs';
import type { NoiseSchedule } from './schedule.js';

/**
 * What a solver remembers between steps. It is a value: `step` takes one and gives the next, which shares no tensor with it, so the caller
 * may dispose the old one at once (`tf.dispose(state)`).
 */
export type SolverState = {
  /** Earlier predictions that multistep solvers use, oldest first. */
  readonly history: tf.Tensor4D[];
  /** Latents from which a Runge-Kutta step starts (PNDM). */
  readonly base?: tf.Tensor4D;
  /** Weighted predictions of an unfinished Runge-Kutta step (PNDM). */
  readonly sum?: tf.Tensor4D;
};

export interface StepInput {
  /** What the network said about `latents` at this step, after guidance. [images, height, width, channels] */
  readonly prediction: tf.Tensor4D;
  readonly latents: tf.Tensor4D;
  /** Number of the step: an index into `timesteps`. */
  readonly index: number;
  readonly state: SolverState;
  /** Draws from N(0, 1) in the shape of `latents`; needed where `needsNoise(index)`. */
  readonly noise?: tf.Tensor4D;
}

export type StepResult = {
  readonly latents: tf.Tensor4D;
  readonly state: SolverState;
  /** The clean latents as they look from here, where the solver computes them. */
  readonly original?: tf.Tensor4D;
};

/**
 * A sampler for a given number of steps. The loop:
 *
 *     x = noise · initNoiseSigma; state = start
 *     for index in 0 … timesteps.length - 1:
 *       prediction = network(scaleInput(x, index), timesteps[index])
 *       { latents: x, state } = step({ prediction, latents: x, index, state, noise })
 */
export interface Scheduler {
  readonly schedule: NoiseSchedule;
  /** Time steps given to the network, in order of use. PNDM's list is longer than the number of steps asked for. */
  readonly timesteps: readonly number[];
  /** Noise levels of the solvers that work with them, one more than time steps. */
  readonly sigmas?: readonly number[];
  /** Standard deviation of the latents that sampling starts from. */
  readonly initNoiseSigma: number;
  /** Whether step `index` draws noise. */
  needsNoise(index: number): boolean;
  /** The latents as the network was trained to see them. A new tensor. */
  scaleInput(latents: tf.Tensor4D, index: number): tf.Tensor4D;
  /** Noises clean latents to the level of step `index` (image to image). A new tensor. */
  addNoise(original: tf.Tensor4D, noise: tf.Tensor4D, index: number): tf.Tensor4D;
  /** One step. All tensors of the result are new and belong to the caller. */
  step(input: StepInput): StepResult;
}

export const emptyState: SolverState = { history: [] };

/** Wraps a solver's formula: frees what it does not return, and copies what it passes through, so that results never alias arguments. */
export function steps(formula: (input: StepInput) => StepResult, needsNoise: (index: number) => boolean): Scheduler['step'] {
  return (input) => {
    if (needsNoise(input.index) && !input.noise) {
      throw new Error(`Step ${input.index} of this sampler draws noise: pass \`noise\` of shape [${input.latents.shape.join(', ')}].`);
    }
    return tf.tidy(() => {
      const { latents, state, original } = formula(input);
      const own = (t: tf.Tensor4D) => t.clone();
      return {
        latents: own(latents),
        state: {
          history: state.history.map(own),
          ...(state.base ? { base: own(state.base) } : {}),
          ...(state.sum ? { sum: own(state.sum) } : {}),
        },
        ...(original ? { original: own(original) } : {}),
      };
    });
  };
}

/** The clean latents and the noise that a prediction stands for, where x = signal · original + deviation · noise. */
export function splitPrediction(
  type: NoiseSchedule['predictionType'],
  prediction: tf.Tensor4D,
  latents: tf.Tensor4D,
  { signal, deviation }: { signal: number; deviation: number },
): { original: tf.Tensor4D; noise: tf.Tensor4D } {
  switch (type) {
    case 'epsilon':
      return { original: latents.sub<tf.Tensor4D>(prediction.mul(deviation)).div(signal), noise: prediction };
    case 'sample':
      return { original: prediction, noise: latents.sub<tf.Tensor4D>(prediction.mul(signal)).div(deviation) };
    case 'v_prediction':
      return {
        original: latents.mul<tf.Tensor4D>(signal).sub(prediction.mul(deviation)),
        noise: prediction.mul<tf.Tensor4D>(signal).add(latents.mul(deviation)),
      };
  }
}

/** What is done to the predicted clean latents: nothing, clipping, or dynamic thresholding (Saharia et al. 2022, section 2.3). */
export type OriginalLimit =
  | { kind: 'none' }
  | { kind: 'clip'; range: number }
  | { kind: 'threshold'; quantile: number; maximum: number };

export function limitOriginal(original: tf.Tensor4D, limit: OriginalLimit): tf.Tensor4D {
  switch (limit.kind) {
    case 'none':
      return original;
    case 'clip':
      return tf.clipByValue(original, -limit.range, limit.range);
    case 'threshold': {
      const images = original.shape[0];
      const flat = original.reshape([images, -1]);
      const bound = quantile(flat.abs(), limit.quantile).clipByValue(1, Math.max(1, limit.maximum)); // [images, 1]
      return tf.minimum(tf.maximum(flat, bound.neg()), bound).div(bound).reshape<tf.Tensor4D>(original.shape);
    }
  }
}

/** The quantile of each row [rows, values] -> [rows, 1], interpolated as in torch.quantile. */
function quantile(values: tf.Tensor, q: number): tf.Tensor {
  const [rows, count] = values.shape;
  const sorted = tf.topk(values, count).values; // descending
  const at = (count - 1) * (1 - q);
  const low = Math.floor(at);
  const pick = (i: number) => sorted.slice([0, Math.min(i, count - 1)], [rows, 1]);
  return pick(low).mul(1 - (at - low)).add(pick(low + 1).mul(at - low));
}
