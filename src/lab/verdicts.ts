import { mean, welchTest } from '../eval/statistics.js';
import type { Measurement } from '../eval/protocol.js';
import { digits } from './tables.js';

/** Sentences about numbers, computed from them: what a chapter says after a figure stays true when the model is trained again. */

/** `0.267 [0.215, 0.326], n = 240`. */
export const stated = ({ value, ci, n }: Pick<Measurement, 'value' | 'ci' | 'n'>): string => `${digits(value)}${ci ? ` [${digits(ci.low)}, ${digits(ci.high)}]` : ''}, n = ${n}`;

/** How a noisy curve went: means of its first and last tenth, and whether it still moved at the end. A constant end counts as level. */
export function trend(name: string, values: readonly number[]): string {
  const tenth = Math.max(1, Math.floor(values.length / 10));
  const sixth = Math.floor(values.length / 6);
  const [first, last] = [mean(values.slice(0, tenth)), mean(values.slice(-tenth))];
  const ends = `${name} went from ${digits(first)} to ${digits(last)} (means of the first and last ${tenth} of ${values.length} values)`;
  if (sixth < 5) return `${ends}; too few values to say how it ended.`;
  const [before, end] = [values.slice(-2 * sixth, -sixth), values.slice(-sixth)];
  const isConstant = [...before, ...end].every((value) => value === end[0]);
  const { p, difference } = isConstant ? { p: 1, difference: 0 } : welchTest(before, end, 'steps');
  const how = p >= 0.05 ? 'was level' : difference < 0 ? 'still fell' : 'rose';
  return `${ends}; at the end it ${how} (last sixth of the values against the one before, Welch p = ${digits(p)}).`;
}

/** Whether a measured share or distance stands out from a fixed level, by its own 95 % interval. */
export function against(name: string, measured: Pick<Measurement, 'value' | 'ci' | 'n'>, level: { name: string; value: number }): string {
  const { ci } = measured;
  const where = !ci ? 'has no interval, so it is not compared with' : ci.low > level.value ? 'is above' : ci.high < level.value ? 'is below' : 'cannot be told from';
  return `${name} ${stated(measured)} ${where} ${level.name} (${digits(level.value)}).`;
}

/** A paired comparison with and without the prompt, as the creation measurements carry it. */
export function promptEffect({ metric, n, details }: Measurement, { higherIsBetter }: { higherIsBetter: boolean }): string {
  const { prompted, unprompted, difference, p } = details as { prompted: number; unprompted: number; difference: number; p: number };
  const helps = difference !== 0 && difference > 0 === higherIsBetter;
  const effect = p >= 0.05 ? 'the prompt makes no difference that can be measured' : helps ? 'the prompt helps' : 'the prompt harms';
  return `${metric}: ${digits(prompted)} with the prompt, ${digits(unprompted)} with the empty one (${n} pairs, paired t test, p = ${digits(p)}): ${effect}.`;
}

/** Probability of at least `hits` successes in independent tries with these probabilities, exactly (the sum's distribution by one convolution a try). */
export function atLeast(hits: number, probabilities: readonly number[]): number {
  const chances = new Float64Array(probabilities.length + 1); // of each number of successes
  chances[0] = 1;
  probabilities.forEach((p, tries) => {
    for (let k = tries + 1; k > 0; k--) chances[k] = chances[k] * (1 - p) + chances[k - 1] * p;
    chances[0] *= 1 - p;
  });
  return chances.subarray(Math.max(0, hits)).reduce((a, b) => a + b, 0);
}
