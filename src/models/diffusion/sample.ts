import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs';
import { random, type Path } from '../../core/random.js';
import { guide, rescaleGuidance } from './guidance.js';
import { emptyState, type Scheduler, type SolverState } from './scheduler.js';

/**
 * The network as the sampler sees it: latents [rows, height, width, channels], one time step for all rows, condition [rows, tokens, dim]
 * -> prediction like latents. Usually `(x, t, c) => unet(params, x, Array(x.shape[0]).fill(t), c, config)`.
 */
export type Predict = (latents: tf.Tensor4D, timestep: number, condition: tf.Tensor3D) => tf.Tensor4D;

export interface Step {
  readonly index: number;
  readonly timestep: number;
  /** The latents after this step. They belong to the sampler: read them before returning, or clone them. */
  readonly latents: tf.Tensor4D;
  /** The clean latents as they looked from this step, where the solver computes them. */
  readonly original?: tf.Tensor4D;
}

export interface SampleOptions {
  predict: Predict;
  scheduler: Scheduler;
  /** [images, tokens, dim] */
  condition: tf.Tensor3D;
  /** What guidance leads away from, [images or 1, tokens, dim]; needed when `guidanceScale` is above 1. */
  unconditional?: tf.Tensor3D;
  /** 1 or less: one pass through the network a step and no guidance. Default 1. */
  guidanceScale?: number;
  guidanceRescale?: number;
  /** Where sampling starts, drawn from N(0, 1): [images, height, width, channels]. */
  noise: tf.Tensor4D;
  /** Noise drawn inside step `index`, in the shape of `noise`; needed by samplers that draw any. The sampler disposes it. */
  stepNoise?: (index: number) => tf.Tensor4D;
  signal?: AbortSignal;
  /** Called after every step; a promise is waited for. */
  onStep?: (step: Step) => void | Promise<void>;
}

/**
 * Draws latents [images, height, width, channels]. Guidance runs both branches as one call of twice the rows. Between steps the event loop
 * runs; nothing is read back from the device. Rejects with the signal's reason when aborted. The caller's tensors stay the caller's.
 */
export async function sample(options: SampleOptions): Promise<tf.Tensor4D> {
  const { scheduler, noise, stepNoise, signal, onStep } = options;
  signal?.throwIfAborted();
  const predict = guidedPrediction(options);
  let latents = noise.mul<tf.Tensor4D>(scheduler.initNoiseSigma);
  let state: SolverState = emptyState;
  try {
    for (const [index, timestep] of scheduler.timesteps.entries()) {
      const next = tf.tidy(() => {
        const prediction = predict.call(scheduler.scaleInput(latents, index), timestep);
        const drawn = scheduler.needsNoise(index) ? stepNoise?.(index) : undefined;
        return scheduler.step({ prediction, latents, index, state, noise: drawn });
      });
      tf.dispose([latents, state]);
      ({ latents, state } = next);
      try {
        await onStep?.({ index, timestep, latents, original: next.original });
      } finally {
        next.original?.dispose();
      }
      await setImmediate();
      signal?.throwIfAborted();
    }
  } catch (error) {
    latents.dispose();
    throw error;
  } finally {
    tf.dispose(state);
    predict.dispose();
  }
  return latents;
}

/** The prediction with guidance. The stacked condition is made once for all steps. */
function guidedPrediction(options: SampleOptions): { call(latents: tf.Tensor4D, timestep: number): tf.Tensor4D; dispose(): void } {
  const { predict, condition, unconditional, guidanceScale = 1, guidanceRescale = 0, noise } = options;
  const images = noise.shape[0];
  if (condition.shape[0] !== images) throw new Error(`sample: expected ${images} conditions, one for each image of the noise, found ${condition.shape[0]}.`);
  if (guidanceScale <= 1) return { call: (latents, timestep) => predict(latents, timestep, condition), dispose: () => {} };
  if (!unconditional) throw new Error(`sample: guidanceScale ${guidanceScale} needs an unconditional condition. Pass \`unconditional\`, or a scale of 1.`);

  const both = tf.tidy(() => {
    const [, tokens, dim] = condition.shape;
    const rows = unconditional.shape[0] === images ? unconditional : unconditional.broadcastTo<tf.Rank.R3>([images, tokens, dim]);
    return tf.concat([rows, condition]);
  });
  return {
    call(latents, timestep) {
      const [free, led] = tf.split(predict(tf.concat([latents, latents]), timestep, both), 2) as tf.Tensor4D[];
      return rescaleGuidance(guide(led, free, guidanceScale), led, guidanceRescale);
    },
    dispose: () => both.dispose(),
  };
}

export type LatentShape = readonly [height: number, width: number, channels: number];

/** Noise [seeds, …shape] whose rows are named by their seeds alone, so that an image does not depend on the batch it is drawn in. */
export function seededNoise(seeds: readonly number[], [height, width, channels]: LatentShape, ...path: Path): tf.Tensor4D {
  const size = height * width * channels;
  const values = new Float32Array(seeds.length * size);
  seeds.forEach((seed, i) => values.set(random(seed, 'diffusion', ...path).normals(size), i * size));
  return tf.tensor4d(values, [seeds.length, height, width, channels]);
}

/** `noise` and `stepNoise` of `sample` for images named by `seeds`. */
export const seededDraws = (seeds: readonly number[], shape: LatentShape): Required<Pick<SampleOptions, 'noise' | 'stepNoise'>> => ({
  noise: seededNoise(seeds, shape, 'start'),
  stepNoise: (index) => seededNoise(seeds, shape, 'step', index),
});
