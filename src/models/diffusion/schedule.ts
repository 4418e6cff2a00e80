import * as tf from '@tensorflow/tfjs';

/** What the network was trained to predict: the noise, the clean latents, or the velocity (Salimans and Ho 2022). */
export type PredictionType = 'epsilon' | 'sample' | 'v_prediction';

export interface ScheduleConfig {
  numTrainTimesteps: number;
  betaSchedule: 'linear' | 'scaled_linear' | 'squaredcos_cap_v2';
  /** First and last variance of `linear` and `scaled_linear`. */
  betaStart: number;
  betaEnd: number;
  /** Explicit variances in place of a named schedule. */
  trainedBetas?: readonly number[];
  predictionType: PredictionType;
  /** Shifts the schedule so that the last time step is pure noise (Lin et al. 2024, algorithm 1). */
  rescaleBetasZeroSnr: boolean;
}

/** Stable Diffusion 2.1-base. */
export const stableDiffusionSchedule: ScheduleConfig = {
  numTrainTimesteps: 1000,
  betaSchedule: 'scaled_linear',
  betaStart: 0.00085,
  betaEnd: 0.012,
  predictionType: 'epsilon',
  rescaleBetasZeroSnr: false,
};

/** The noise schedule as numbers, in float64. Index: training time step. */
export interface NoiseSchedule {
  readonly betas: Float64Array;
  /** Cumulative products of 1 - beta: the share of signal variance at each time step. */
  readonly alphaBars: Float64Array;
  readonly predictionType: PredictionType;
}

export function noiseSchedule(config: ScheduleConfig): NoiseSchedule {
  const { numTrainTimesteps: count, trainedBetas, predictionType } = config;
  if (trainedBetas && trainedBetas.length !== count) {
    throw new Error(`Expected ${count} trained betas, one a training time step, found ${trainedBetas.length}.`);
  }
  const named = trainedBetas ? Float64Array.from(trainedBetas) : namedBetas(config);
  const betas = config.rescaleBetasZeroSnr ? rescaleZeroTerminalSnr(named) : named;
  return { betas, alphaBars: cumulativeAlphas(betas), predictionType };
}

function namedBetas({ betaSchedule, betaStart, betaEnd, numTrainTimesteps: count }: ScheduleConfig): Float64Array {
  switch (betaSchedule) {
    case 'linear':
      return linspace(betaStart, betaEnd, count);
    case 'scaled_linear': // linear in the standard deviation (latent diffusion)
      return linspace(Math.sqrt(betaStart), Math.sqrt(betaEnd), count).map((x) => x * x);
    case 'squaredcos_cap_v2': {
      // Nichol and Dhariwal 2021, eq. 17, with betas capped at 0.999.
      const alphaBar = (u: number) => Math.cos(((u + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
      return Float64Array.from({ length: count }, (_, i) => Math.min(1 - alphaBar((i + 1) / count) / alphaBar(i / count), 0.999));
    }
  }
}

function cumulativeAlphas(betas: Float64Array): Float64Array {
  let product = 1;
  return betas.map((beta) => (product *= 1 - beta));
}

/** Keeps the first signal level, moves the last to 0 and scales those between (Lin et al. 2024, algorithm 1). */
export function rescaleZeroTerminalSnr(betas: Float64Array): Float64Array {
  const levels = cumulativeAlphas(betas).map(Math.sqrt);
  const first = levels[0];
  const last = levels[levels.length - 1];
  const alphaBars = levels.map((level) => (((level - last) * first) / (first - last)) ** 2);
  return alphaBars.map((alphaBar, i) => 1 - (i === 0 ? alphaBar : alphaBar / alphaBars[i - 1]));
}

export function linspace(start: number, end: number, count: number): Float64Array {
  if (count === 1) return Float64Array.of(start);
  const step = (end - start) / (count - 1);
  return Float64Array.from({ length: count }, (_, i) => (i === count - 1 ? end : start + i * step));
}

/** Draws x_t from x_0: `original` and `noise` [images, …], one time step an image (Ho et al. 2020, eq. 4). */
export function addNoise<T extends tf.Tensor>(schedule: NoiseSchedule, original: T, noise: T, timesteps: ArrayLike<number>): T {
  return tf.tidy(() => {
    const { signal, deviation } = levels(schedule, timesteps, original);
    return tf.add<T>(original.mul(signal), noise.mul(deviation));
  });
}

/** The target of v-prediction: √ᾱ noise - √(1 - ᾱ) x_0 (Salimans and Ho 2022, appendix D). */
export function velocity<T extends tf.Tensor>(schedule: NoiseSchedule, original: T, noise: T, timesteps: ArrayLike<number>): T {
  return tf.tidy(() => {
    const { signal, deviation } = levels(schedule, timesteps, original);
    return tf.sub<T>(noise.mul(signal), original.mul(deviation));
  });
}

/** What the network should answer for x_t, by the schedule's prediction type. */
export function predictionTarget<T extends tf.Tensor>(schedule: NoiseSchedule, original: T, noise: T, timesteps: ArrayLike<number>): T {
  switch (schedule.predictionType) {
    case 'epsilon':
      return noise.clone() as T;
    case 'sample':
      return original.clone() as T;
    case 'v_prediction':
      return velocity(schedule, original, noise, timesteps);
  }
}

/** Signal-to-noise ratio ᾱ / (1 - ᾱ) at a training time step. */
export function snr({ alphaBars }: NoiseSchedule, timestep: number): number {
  return alphaBars[timestep] / (1 - alphaBars[timestep]);
}

/** ᾱ at a time step and `stride` before it; `final` where that lies before the first. */
export function around(alphaBars: Float64Array, timestep: number, stride: number, final: number): { alphaBar: number; alphaBarPrevious: number } {
  const previous = timestep - stride;
  return { alphaBar: alphaBars[timestep], alphaBarPrevious: previous >= 0 ? alphaBars[previous] : final };
}

/** √ᾱ and √(1 - ᾱ) of each image, shaped to multiply `like`. */
function levels({ alphaBars }: NoiseSchedule, timesteps: ArrayLike<number>, like: tf.Tensor): { signal: tf.Tensor; deviation: tf.Tensor } {
  const images = like.shape[0];
  if (timesteps.length !== images) throw new Error(`Expected one time step for each of ${images} images, found ${timesteps.length}.`);
  const shape = [images, ...Array<number>(like.rank - 1).fill(1)];
  const of = Array.from(timesteps, (t) => {
    if (!Number.isInteger(t) || t < 0 || t >= alphaBars.length) {
      throw new Error(`Expected time steps from 0 to ${alphaBars.length - 1}, found ${t}.`);
    }
    return alphaBars[t];
  });
  return { signal: tf.tensor(of.map(Math.sqrt), shape), deviation: tf.tensor(of.map((a) => Math.sqrt(1 - a)), shape) };
}
