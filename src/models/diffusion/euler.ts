import { noiseSchedule, type ScheduleConfig } from './schedule.js';
import { emptyState, steps as solver, type Scheduler } from './scheduler.js';
import { interpolate, karrasSigmas, noiseLevels, sigmaToTimestep, spacedTimesteps, type TimestepSpacing } from './timesteps.js';

export interface EulerConfig extends ScheduleConfig {
  kind: 'euler';
  timestepSpacing: TimestepSpacing;
  stepsOffset: number;
  useKarrasSigmas: boolean;
}

/**
 * Euler's method on the probability flow (Karras et al. 2022, algorithm 1 without churn). Latents are original + sigma · noise, so the
 * network sees them divided by √(sigma² + 1). Time steps may lie between training time steps.
 */
export function euler(config: EulerConfig, steps: number): Scheduler {
  const { numTrainTimesteps, timestepSpacing } = config;
  const schedule = noiseSchedule(config);
  const alphaBars = schedule.alphaBars.slice();
  // Zero terminal SNR would make the first sigma infinite: the reference takes the smallest positive float16.
  if (config.rescaleBetasZeroSnr) alphaBars[alphaBars.length - 1] = 2 ** -24;
  const levels = noiseLevels(alphaBars);
  const spaced = spacedTimesteps(timestepSpacing, numTrainTimesteps, steps, config.stepsOffset).map(Math.fround);
  const plain = spaced.map((t) => interpolate(levels, t));
  const noisy = config.useKarrasSigmas ? karrasSigmas(plain[plain.length - 1], plain[0], steps) : plain;
  const timesteps = config.useKarrasSigmas ? noisy.map((sigma) => Math.fround(sigmaToTimestep(sigma, levels))) : spaced;
  const sigmas = [...noisy.map(Math.fround), 0];
  const largest = Math.max(...sigmas);
  const needsNoise = () => false;

  return {
    schedule,
    timesteps,
    sigmas,
    initNoiseSigma: timestepSpacing === 'leading' ? Math.sqrt(largest ** 2 + 1) : largest,
    needsNoise,
    scaleInput: (latents, index) => latents.div(Math.sqrt(sigmas[index] ** 2 + 1)),
    addNoise: (original, noise, index) => original.add(noise.mul(sigmas[index])),
    step: solver(({ prediction, latents, index }) => {
      const sigma = sigmas[index];
      const original = denoised(config.predictionType);
      const slope = latents.sub(original).div(sigma);
      return { latents: latents.add(slope.mul(sigmas[index + 1] - sigma)), state: emptyState, original };

      function denoised(type: ScheduleConfig['predictionType']) {
        switch (type) {
          case 'epsilon':
            return latents.sub<typeof latents>(prediction.mul(sigma));
          case 'sample':
            return prediction;
          case 'v_prediction':
            return latents.div<typeof latents>(sigma ** 2 + 1).sub<typeof latents>(prediction.mul(sigma / Math.sqrt(sigma ** 2 + 1)));
        }
      }
    }, needsNoise),
  };
}
