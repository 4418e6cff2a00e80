import * as tf from '@tensorflow/tfjs';
import { roundHalfEven } from '../../core/rounding.js';
import { addNoise, around, noiseSchedule, type ScheduleConfig } from './schedule.js';
import { steps as solver, type Scheduler, type SolverState, type StepInput } from './scheduler.js';
import { spacedTimesteps, type TimestepSpacing } from './timesteps.js';

export interface PndmConfig extends ScheduleConfig {
  kind: 'pndm';
  timestepSpacing: TimestepSpacing;
  stepsOffset: number;
  setAlphaToOne: boolean;
  /** Starts with lower-order multistep formulas in place of three Runge-Kutta steps of four predictions each. */
  skipPrkSteps: boolean;
}

/** Pseudo numerical methods (Liu et al. 2022): Runge-Kutta first, then a linear multistep method of order 4. */
export function pndm(config: PndmConfig, steps: number): Scheduler {
  const { numTrainTimesteps, skipPrkSteps } = config;
  if (config.predictionType === 'sample') throw new Error('PNDM takes predictions of type epsilon or v_prediction, found sample.');
  if (steps < 4 && !skipPrkSteps) throw new Error(`PNDM starts with 3 Runge-Kutta steps and needs 4 steps or more, found ${steps}.`);
  const schedule = noiseSchedule(config);
  const spaced = spacedTimesteps(config.timestepSpacing, numTrainTimesteps, steps, config.stepsOffset).map(roundHalfEven); // latest first
  const stride = Math.floor(numTrainTimesteps / steps);
  const half = Math.floor(stride / 2);
  const final = config.setAlphaToOne ? 1 : schedule.alphaBars[0];
  const timesteps = skipPrkSteps ? repeatSecond(spaced) : [...rungeKuttaTimesteps(spaced, half), ...spaced.slice(3)];
  const rungeKuttaCount = skipPrkSteps ? 0 : 12;

  /** Eq. 9 of the paper, from one time step to another. */
  const move = (latents: tf.Tensor4D, prediction: tf.Tensor4D, from: number, to: number): tf.Tensor4D => {
    const { alphaBar, alphaBarPrevious } = around(schedule.alphaBars, from, from - to, final);
    const noise =
      schedule.predictionType === 'v_prediction'
        ? prediction.mul<tf.Tensor4D>(Math.sqrt(alphaBar)).add<tf.Tensor4D>(latents.mul(Math.sqrt(1 - alphaBar)))
        : prediction;
    const denominator = alphaBar * Math.sqrt(1 - alphaBarPrevious) + Math.sqrt(alphaBar * (1 - alphaBar) * alphaBarPrevious);
    return latents.mul<tf.Tensor4D>(Math.sqrt(alphaBarPrevious / alphaBar)).sub(noise.mul((alphaBarPrevious - alphaBar) / denominator));
  };

  /** One of the four predictions of a Runge-Kutta step; the fourth one ends it. */
  const rungeKutta = ({ prediction, latents, index, state }: StepInput) => {
    const phase = index % 4;
    const weighted = prediction.mul<tf.Tensor4D>(phase === 0 || phase === 3 ? 1 / 6 : 1 / 3);
    const sum = phase === 0 ? weighted : state.sum!.add<tf.Tensor4D>(weighted);
    const base = phase === 0 ? latents : state.base!;
    const from = timesteps[index - phase];
    const to = timesteps[index] - (index % 2 ? 0 : half);
    const history = phase === 0 ? [...state.history, prediction] : state.history;
    const next: SolverState = phase === 3 ? { history } : { history, base, sum };
    return { latents: move(base, phase === 3 ? sum : prediction, from, to), state: next };
  };

  const multistep = ({ prediction, latents, index, state }: StepInput) => {
    if (skipPrkSteps && index === 1) {
      // The second prediction, at the first step's end, improves the first one: an Euler step made a Heun step.
      const mean = prediction.add<tf.Tensor4D>(state.history[0]).div<tf.Tensor4D>(2);
      return { latents: move(state.base!, mean, timesteps[1] + stride, timesteps[1]), state: { history: state.history } };
    }
    const history = [...state.history.slice(-3), prediction];
    const from = timesteps[index];
    const next: SolverState = skipPrkSteps && index === 0 ? { history, base: latents } : { history };
    return { latents: move(latents, adamsBashforth(history), from, from - stride), state: next };
  };

  const needsNoise = () => false;
  return {
    schedule,
    timesteps,
    initNoiseSigma: 1,
    needsNoise,
    scaleInput: (latents) => latents.clone(),
    addNoise: (original, noise, index) => addNoise(schedule, original, noise, Array(original.shape[0]).fill(timesteps[index])),
    step: solver((input) => (input.index < rungeKuttaCount ? rungeKutta(input) : multistep(input)), needsNoise),
  };
}

/** The linear multistep formula of the highest order that `history`, oldest first, allows. */
function adamsBashforth(history: readonly tf.Tensor4D[]): tf.Tensor4D {
  const weights = [[1], [-1 / 2, 3 / 2], [5 / 12, -16 / 12, 23 / 12], [-9 / 24, 37 / 24, -59 / 24, 55 / 24]][history.length - 1];
  return history.map((t, i) => t.mul<tf.Tensor4D>(weights[i])).reduce((a, b) => a.add(b));
}

/** The first step is done twice, so its end time step comes twice. */
function repeatSecond(timesteps: number[]): number[] {
  return timesteps.length < 2 ? timesteps : [timesteps[0], timesteps[1], ...timesteps.slice(1)];
}

/** Each of three Runge-Kutta steps sees its start, twice its middle, and its end. */
function rungeKuttaTimesteps(timesteps: number[], half: number): number[] {
  return [0, 1, 2].flatMap((i) => {
    const end = timesteps[i + 1];
    return [timesteps[i], end + half, end + half, end];
  });
}
