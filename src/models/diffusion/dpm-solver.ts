import type * as tf from '@tensorflow/tfjs';
import { roundHalfEven } from '../../core/rounding.js';
import { noiseSchedule, type ScheduleConfig } from './schedule.js';
import { limitOriginal, splitPrediction, steps as solver, type OriginalLimit, type Scheduler } from './scheduler.js';
import { checkSteps, interpolate, karrasSigmas, noiseLevels, sigmaToTimestep, spacedTimesteps, type TimestepSpacing } from './timesteps.js';

export interface DpmSolverConfig extends ScheduleConfig {
  kind: 'dpm-solver';
  timestepSpacing: TimestepSpacing;
  stepsOffset: number;
  useKarrasSigmas: boolean;
  solverOrder: 1 | 2 | 3;
  /** `++` integrates the predicted original (Lu et al. 2022b), without it the predicted noise (2022a); `sde-` adds noise in every step. */
  algorithm: 'dpmsolver' | 'dpmsolver++' | 'sde-dpmsolver' | 'sde-dpmsolver++';
  solverType: 'midpoint' | 'heun';
  /** Lowers the order in the last steps when there are fewer than 15. */
  lowerOrderFinal: boolean;
  eulerAtFinal: boolean;
  limit: OriginalLimit;
}

/** Where a noise level stands in variance-preserving terms: x = signal · original + deviation · noise, lambda = log(signal / deviation). */
interface Place {
  signal: number;
  deviation: number;
  lambda: number;
}

function place(sigma: number): Place {
  const signal = 1 / Math.sqrt(sigma ** 2 + 1);
  return { signal, deviation: sigma * signal, lambda: -Math.log(sigma) };
}

/** Multistep DPM-Solver and DPM-Solver++ of order 1 to 3 (Lu et al. 2022a, 2022b). */
export function dpmSolver(config: DpmSolverConfig, steps: number): Scheduler {
  const { algorithm, solverOrder, limit } = config;
  const stochastic = algorithm.startsWith('sde-');
  const ofData = algorithm.endsWith('++');
  if (stochastic && solverOrder === 3) throw new Error(`${algorithm} has formulas of order 1 and 2, found solverOrder 3.`);
  const schedule = noiseSchedule(config);
  const { timesteps, sigmas } = spacing(config, schedule.alphaBars, steps);
  const places = sigmas.map(place);
  const needsNoise = () => stochastic;

  /** The order of step `index`, given how many predictions are at hand. */
  const order = (index: number, available: number) => {
    const left = timesteps.length - 1 - index;
    const few = timesteps.length < 15 && config.lowerOrderFinal;
    if (left === 0 && (few || config.eulerAtFinal)) return 1;
    return Math.min(solverOrder, available, left === 1 && few ? 2 : 3);
  };

  return {
    schedule,
    timesteps,
    sigmas,
    initNoiseSigma: 1,
    needsNoise,
    scaleInput: (latents) => latents.clone(),
    addNoise: (original, noise, index) => original.mul<tf.Tensor4D>(places[index].signal).add(noise.mul(places[index].deviation)),
    step: solver(({ prediction, latents, index, state, noise }) => {
      const split = splitPrediction(schedule.predictionType, prediction, latents, places[index]);
      const original = limitOriginal(split.original, limit);
      const epsilon =
        limit.kind === 'none' ? split.noise : latents.sub<tf.Tensor4D>(original.mul(places[index].signal)).div<tf.Tensor4D>(places[index].deviation);
      const history = [...state.history, ofData ? original : epsilon].slice(-solverOrder);

      const at = (back: number) => places[index - back];
      const terms = update(algorithm, config.solverType, order(index, history.length), at, places[index + 1]);
      const recent = (back: number) => history[history.length - 1 - back];
      let next = latents.mul<tf.Tensor4D>(terms.latents);
      terms.history.forEach((weight, back) => (next = next.add(recent(back).mul(weight))));
      if (stochastic) next = next.add(noise!.mul(terms.noise));
      return { latents: next, state: { history }, original };
    }, needsNoise),
  };
}

function spacing(config: DpmSolverConfig, alphaBars: Float64Array, steps: number): { timesteps: number[]; sigmas: number[] } {
  const { numTrainTimesteps, timestepSpacing, stepsOffset, useKarrasSigmas } = config;
  checkSteps(steps, numTrainTimesteps - 1);
  // All but `trailing` leave out the last of one step more.
  const spaced =
    timestepSpacing === 'trailing'
      ? spacedTimesteps('trailing', numTrainTimesteps, steps, 0)
      : spacedTimesteps(timestepSpacing, numTrainTimesteps, steps + 1, stepsOffset).slice(0, -1).map(roundHalfEven);
  const levels = noiseLevels(alphaBars);
  if (useKarrasSigmas) {
    const noisy = karrasSigmas(levels[0], levels[levels.length - 1], steps);
    return {
      timesteps: noisy.map((sigma) => roundHalfEven(sigmaToTimestep(sigma, levels))),
      sigmas: [...noisy, noisy[noisy.length - 1]].map(Math.fround),
    };
  }
  return { timesteps: spaced, sigmas: [...spaced.map((t) => interpolate(levels, t)), levels[0]].map(Math.fround) };
}

/** Weights of one step: x' = latents · x + Σ history[k] · (prediction k steps back) + noise · draw. */
interface Update {
  latents: number;
  history: number[];
  noise: number;
}

/**
 * The exact solution of the linear part and a polynomial through the last `order` predictions for the rest.
 * `at(k)` is the place k steps back (0: now), `next` the place to go to.
 */
function update(
  algorithm: DpmSolverConfig['algorithm'],
  solverType: DpmSolverConfig['solverType'],
  order: number,
  at: (back: number) => Place,
  next: Place,
): Update {
  const now = at(0);
  const h = next.lambda - now.lambda;
  if (h === 0) return { latents: 1, history: [], noise: 0 };
  const { latents, integral, noise } = exact(algorithm, now, next, h);

  if (order === 1) return { latents, history: [integral.constant], noise };

  // Divided differences of the predictions in lambda.
  const r0 = (now.lambda - at(1).lambda) / h;
  if (order === 2) {
    const weight = solverType === 'midpoint' ? integral.constant / 2 : integral.slope;
    return { latents, history: [integral.constant + weight / r0, -weight / r0], noise };
  }
  const r1 = (at(1).lambda - at(2).lambda) / h;
  const recent = [1 / r0, -1 / r0, 0];
  const earlier = [0, 1 / r1, -1 / r1];
  const history = [0, 1, 2].map((k) => {
    const curvature = (recent[k] - earlier[k]) / (r0 + r1);
    return (k === 0 ? integral.constant : 0) + integral.slope * (recent[k] + r0 * curvature) + integral.curvature * curvature;
  });
  return { latents, history, noise };
}

/** Factor of the latents and integrals of 1, u and u²/2 against the exponential weight, u running from 0 to 1 over the step. */
function exact(algorithm: DpmSolverConfig['algorithm'], now: Place, next: Place, h: number) {
  const rise = Math.expm1(h);
  const fall = Math.expm1(-h);
  switch (algorithm) {
    case 'dpmsolver++':
      return {
        latents: next.deviation / now.deviation,
        integral: {
          constant: -next.signal * fall,
          slope: next.signal * (fall / h + 1),
          curvature: -next.signal * ((fall + h) / h ** 2 - 0.5),
        },
        noise: 0,
      };
    case 'dpmsolver':
      return {
        latents: next.signal / now.signal,
        integral: {
          constant: -next.deviation * rise,
          slope: -next.deviation * (rise / h - 1),
          curvature: -next.deviation * ((rise - h) / h ** 2 - 0.5),
        },
        noise: 0,
      };
    case 'sde-dpmsolver++': {
      const share = -Math.expm1(-2 * h);
      return {
        latents: (next.deviation / now.deviation) * Math.exp(-h),
        integral: { constant: next.signal * share, slope: next.signal * (share / (-2 * h) + 1), curvature: 0 },
        noise: next.deviation * Math.sqrt(share),
      };
    }
    case 'sde-dpmsolver':
      return {
        latents: next.signal / now.signal,
        integral: { constant: -2 * next.deviation * rise, slope: -2 * next.deviation * (rise / h - 1), curvature: 0 },
        noise: next.deviation * Math.sqrt(Math.expm1(2 * h)),
      };
  }
}
