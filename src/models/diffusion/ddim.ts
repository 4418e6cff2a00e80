import type * as tf from '@tensorflow/tfjs';
import { roundHalfEven } from '../../core/rounding.js';
import { addNoise, around, noiseSchedule, type ScheduleConfig } from './schedule.js';
import { emptyState, limitOriginal, splitPrediction, steps as solver, type OriginalLimit, type Scheduler } from './scheduler.js';
import { spacedTimesteps, type TimestepSpacing } from './timesteps.js';

export interface DdimConfig extends ScheduleConfig {
  kind: 'ddim';
  timestepSpacing: TimestepSpacing;
  stepsOffset: number;
  /** Share of the posterior's noise: 0 is deterministic, 1 is ancestral sampling. */
  eta: number;
  /** Whether the signal level before the first time step is 1 or that of time step 0. */
  setAlphaToOne: boolean;
  limit: OriginalLimit;
}

/** Song et al. 2021, eq. 12. The noise prediction is not recomputed from a clipped original. */
export function ddim(config: DdimConfig, steps: number): Scheduler {
  const { numTrainTimesteps, eta, limit } = config;
  const schedule = noiseSchedule(config);
  const timesteps = spacedTimesteps(config.timestepSpacing, numTrainTimesteps, steps, config.stepsOffset).map(roundHalfEven);
  const stride = Math.floor(numTrainTimesteps / steps);
  const final = config.setAlphaToOne ? 1 : schedule.alphaBars[0];
  const needsNoise = () => eta > 0;

  return {
    schedule,
    timesteps,
    initNoiseSigma: 1,
    needsNoise,
    scaleInput: (latents) => latents.clone(),
    addNoise: (original, noise, index) => addNoise(schedule, original, noise, Array(original.shape[0]).fill(timesteps[index])),
    step: solver(({ prediction, latents, index, noise }) => {
      const { alphaBar, alphaBarPrevious } = around(schedule.alphaBars, timesteps[index], stride, final);
      const split = splitPrediction(schedule.predictionType, prediction, latents, { signal: Math.sqrt(alphaBar), deviation: Math.sqrt(1 - alphaBar) });
      const original = limitOriginal(split.original, limit);

      const sigma = eta * Math.sqrt(ddimVariance(alphaBar, alphaBarPrevious));
      const direction = split.noise.mul(Math.sqrt(1 - alphaBarPrevious - sigma ** 2));
      const next = original.mul<tf.Tensor4D>(Math.sqrt(alphaBarPrevious)).add<tf.Tensor4D>(direction);
      return { latents: eta > 0 ? next.add(noise!.mul(sigma)) : next, state: emptyState, original };
    }, needsNoise),
  };
}

/** Variance of the noise of a step with eta 1 (eq. 16). */
export const ddimVariance = (alphaBar: number, alphaBarPrevious: number): number =>
  ((1 - alphaBarPrevious) / (1 - alphaBar)) * (1 - alphaBar / alphaBarPrevious);
