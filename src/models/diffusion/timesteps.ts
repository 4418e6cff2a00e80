import { roundHalfEven } from '../../core/rounding.js';
import { linspace } from './schedule.js';

/** How sampling steps are spread over training time steps (Lin et al. 2024, table 2). */
export type TimestepSpacing = 'leading' | 'trailing' | 'linspace';

/**
 * `steps` of `numTrain` time steps, latest (noisiest) first.
 * leading: i·⌊numTrain / steps⌋ + offset; trailing: rounded down from numTrain - 1; linspace: both ends included, not rounded here.
 */
export function spacedTimesteps(spacing: TimestepSpacing, numTrain: number, steps: number, offset: number): number[] {
  checkSteps(steps, numTrain);
  switch (spacing) {
    case 'leading': {
      const ratio = Math.floor(numTrain / steps);
      return Array.from({ length: steps }, (_, i) => (steps - 1 - i) * ratio + offset);
    }
    case 'trailing': {
      const ratio = numTrain / steps;
      return Array.from({ length: steps }, (_, i) => roundHalfEven(numTrain - i * ratio) - 1);
    }
    case 'linspace':
      return [...linspace(0, numTrain - 1, steps)].reverse();
  }
}

export function checkSteps(steps: number, numTrain: number): void {
  if (!Number.isInteger(steps) || steps < 1 || steps > numTrain) {
    throw new Error(`Expected a number of sampling steps from 1 to ${numTrain}, found ${steps}.`);
  }
}

/** The value of a table between its whole-numbered places. */
export function interpolate(table: ArrayLike<number>, at: number): number {
  const low = Math.min(Math.max(Math.floor(at), 0), table.length - 1);
  const high = Math.min(low + 1, table.length - 1);
  return table[low] + (table[high] - table[low]) * (at - low);
}

/** √((1 - ᾱ) / ᾱ) of each training time step: the noise level where the signal has unit scale. */
export const noiseLevels = (alphaBars: Float64Array): Float64Array => alphaBars.map((alphaBar) => Math.sqrt((1 - alphaBar) / alphaBar));

/** Noise levels from `max` to `min`, evenly spaced in the 7th root (Karras et al. 2022, eq. 5). */
export function karrasSigmas(min: number, max: number, steps: number): number[] {
  const rho = 7;
  return [...linspace(0, 1, steps)].map((u) => (max ** (1 / rho) + u * (min ** (1 / rho) - max ** (1 / rho))) ** rho);
}

/** The training time step, between whole ones, whose noise level is `sigma`: the inverse of `noiseLevels`, linear in the logarithm. */
export function sigmaToTimestep(sigma: number, levels: Float64Array): number {
  const wanted = Math.log(Math.max(sigma, 1e-10));
  let low = 0;
  while (low < levels.length - 2 && Math.log(levels[low + 1]) <= wanted) low++;
  const from = Math.log(levels[low]);
  const to = Math.log(levels[low + 1]);
  const share = Math.min(1, Math.max(0, (from - wanted) / (from - to)));
  return (1 - share) * low + share * (low + 1);
}
