import type * as tf from '@tensorflow/tfjs';
import { roundHalfEven } from '../../core/rounding.js';
import { addNoise, around, noiseSchedule, type ScheduleConfig } from './schedule.js';
import { emptyState, limitOriginal, splitPrediction, steps as solver, type OriginalLimit, type Scheduler } from './scheduler.js';
import { spacedTimesteps, type TimestepSpacing } from './timesteps.js';

export interface DdpmConfig extends ScheduleConfig {
  kind: 'ddpm';
  timestepSpacing: TimestepSpacing;
  stepsOffset: number;
  /** Variance of the noise added: that of the posterior (`fixed_small`) or beta itself (`fixed_large`), Ho et al. 2020, section 3.2. */
  varianceType: 'fixed_small' | 'fixed_small_log' | 'fixed_large';
  limit: OriginalLimit;
}

/** Ancestral sampling (Ho et al. 2020, algorithm 2, with steps skipped as diffusers does). The sampler of DreamLLM. */
export function ddpm(config: DdpmConfig, steps: number): Scheduler {
  const { numTrainTimesteps, varianceType, limit } = config;
  const schedule = noiseSchedule(config);
  const timesteps = spacedTimesteps(config.timestepSpacing, numTrainTimesteps, steps, config.stepsOffset).map(roundHalfEven);
  const stride = Math.floor(numTrainTimesteps / steps);
  const needsNoise = (index: number) => timesteps[index] > 0;

  return {
    schedule,
    timesteps,
    initNoiseSigma: 1,
    needsNoise,
    scaleInput: (latents) => latents.clone(),
    addNoise: (original, noise, index) => addNoise(schedule, original, noise, Array(original.shape[0]).fill(timesteps[index])),
    step: solver(({ prediction, latents, index, noise }) => {
      const { alphaBar, alphaBarPrevious } = around(schedule.alphaBars, timesteps[index], stride, 1);
      const alpha = alphaBar / alphaBarPrevious;
      const split = splitPrediction(schedule.predictionType, prediction, latents, { signal: Math.sqrt(alphaBar), deviation: Math.sqrt(1 - alphaBar) });
      const original = limitOriginal(split.original, limit);

      // The mean of q(x_{t-1} | x_t, x_0), eq. 7.
      const mean = original
        .mul<tf.Tensor4D>((Math.sqrt(alphaBarPrevious) * (1 - alpha)) / (1 - alphaBar))
        .add<tf.Tensor4D>(latents.mul((Math.sqrt(alpha) * (1 - alphaBarPrevious)) / (1 - alphaBar)));
      const posterior = Math.max(((1 - alphaBarPrevious) / (1 - alphaBar)) * (1 - alpha), 1e-20);
      const deviation = Math.sqrt(varianceType === 'fixed_large' ? 1 - alpha : posterior);
      return { latents: needsNoise(index) ? mean.add(noise!.mul(deviation)) : mean, state: emptyState, original };
    }, needsNoise),
  };
}
