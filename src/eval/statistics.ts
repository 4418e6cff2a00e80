import jstat from 'jstat';
import { random } from '../core/random.js';
import type { Interval } from './protocol.js';

const { normal, studentt, noncentralt } = jstat.jStat;

/** Statistics of scores: what varies is always said, and a test is exact where counting can make it so. */

export const mean = (values: readonly number[]): number => sum(checked(values, 1)) / values.length;

/** Sample variance, with n - 1. */
export function variance(values: readonly number[]): number {
  const center = mean(checked(values, 2));
  return sum(values.map((value) => (value - center) ** 2)) / (values.length - 1);
}

export const standardDeviation = (values: readonly number[]): number => Math.sqrt(variance(values));
export const standardError = (values: readonly number[]): number => Math.sqrt(variance(values) / values.length);

export interface Estimate {
  readonly mean: number;
  readonly n: number;
  /** Absent with one value: one run has no spread. */
  readonly std?: number;
  readonly ci?: Interval;
}

/** Mean and Student t interval of independent values, such as one score a seed. */
export function estimate(values: readonly number[], source = 'seeds', level = 0.95): Estimate {
  const n = values.length;
  const center = mean(values);
  if (n === 1) return { mean: center, n };
  const std = standardDeviation(values);
  const half = studentt.inv(0.5 + level / 2, n - 1) * (std / Math.sqrt(n));
  return { mean: center, n, std, ci: { low: center - half, high: center + half, level, method: 'Student t', source } };
}

/** Wilson's score interval of a proportion (Wilson 1927): right for few items and for 0 or n hits. */
export function wilson(hits: number, n: number, level = 0.95, source = 'questions'): Interval {
  if (!Number.isInteger(n) || n < 1 || !(hits >= 0 && hits <= n)) throw new Error(`wilson: expected 0 <= hits <= n with n >= 1, found ${hits} of ${n}.`);
  const z = normal.inv(0.5 + level / 2, 0, 1);
  const p = hits / n;
  const scale = 1 / (1 + z ** 2 / n);
  const center = scale * (p + z ** 2 / (2 * n));
  const half = scale * z * Math.sqrt((p * (1 - p)) / n + z ** 2 / (4 * n ** 2));
  // The limits at 0 and n are 0 and 1 exactly; rounding must not push them past.
  return { low: hits === 0 ? 0 : center - half, high: hits === n ? 1 : center + half, level, method: 'Wilson', source };
}

/**
 * Standard errors of a mean over questions that come in groups, such as several on one picture: as if independent, and clustered
 * (Miller 2024, arXiv 2411.00640, section 2.2).
 */
export function clusteredStandardError(scores: readonly number[], clusters: readonly (string | number)[]): { mean: number; plain: number; clustered: number } {
  if (scores.length !== clusters.length) throw new Error(`clusteredStandardError: expected a cluster for each score, found ${scores.length} scores and ${clusters.length} clusters.`);
  const center = mean(scores);
  const plain = standardError(scores);
  const totals = new Map<string | number, { sum: number; squares: number }>();
  scores.forEach((score, i) => {
    const total = totals.get(clusters[i]) ?? { sum: 0, squares: 0 };
    totals.set(clusters[i], { sum: total.sum + score - center, squares: total.squares + (score - center) ** 2 });
  });
  // (sum of deviations)^2 less the squares leaves the cross terms of one cluster.
  const cross = sum([...totals.values()].map((total) => total.sum ** 2 - total.squares));
  return { mean: center, plain, clustered: Math.sqrt(Math.max(0, plain ** 2 + cross / scores.length ** 2)) };
}

export interface PairedTest {
  /** Mean of b - a. */
  readonly difference: number;
  readonly n: number;
  readonly ci: Interval;
  readonly t: number;
  /** Two-sided, Student t. */
  readonly p: number;
  /** Mean difference in units of its standard deviation (Cohen's d_z). */
  readonly effectSize: number;
}

/** Paired t test of b against a: the i-th values share seed, question or picture. */
export function pairedTest(a: readonly number[], b: readonly number[], source = 'seeds', level = 0.95): PairedTest {
  const differences = paired(a, b);
  const n = differences.length;
  const difference = mean(differences);
  const std = standardDeviation(differences);
  const half = studentt.inv(0.5 + level / 2, n - 1) * (std / Math.sqrt(n));
  const ci = { low: difference - half, high: difference + half, level, method: 'paired Student t', source };
  // All differences alike: certain when they are not zero, and no evidence at all when they are.
  const t = std === 0 ? (difference === 0 ? 0 : Math.sign(difference) * Infinity) : difference / (std / Math.sqrt(n));
  const p = t === 0 ? 1 : Number.isFinite(t) ? 2 * studentt.cdf(-Math.abs(t), n - 1) : 0;
  return { difference, n, ci, t, p, effectSize: std === 0 ? (difference === 0 ? 0 : t) : difference / std };
}

/** Welch's t test of b against a, for runs that share nothing. */
export function welchTest(a: readonly number[], b: readonly number[], source = 'seeds', level = 0.95): { difference: number; ci: Interval; t: number; degrees: number; p: number } {
  const [va, vb] = [variance(a) / a.length, variance(b) / b.length];
  const difference = mean(b) - mean(a);
  const error = Math.sqrt(va + vb);
  if (error === 0) throw new Error('welchTest: expected values that vary, found two constant samples.');
  const degrees = (va + vb) ** 2 / (va ** 2 / (a.length - 1) + vb ** 2 / (b.length - 1));
  const half = studentt.inv(0.5 + level / 2, degrees) * error;
  const t = difference / error;
  return { difference, ci: { low: difference - half, high: difference + half, level, method: 'Welch t', source }, t, degrees, p: 2 * studentt.cdf(-Math.abs(t), degrees) };
}

/**
 * Two-sided sign-flip test that paired differences are symmetric about 0. Exact up to 20 pairs, by counting all 2^n flips; above that,
 * 100,000 seeded flips and the observed one, as `method` says.
 */
export function signFlipTest(a: readonly number[], b: readonly number[], seed = 0): { p: number; n: number; smallestP: number; method: 'exact' | 'sampled' } {
  const differences = paired(a, b);
  const n = differences.length;
  const observed = Math.abs(sum(differences));
  // Sums that are equal on paper differ in the last digits.
  const reach = observed - 1e-12 * sum(differences.map(Math.abs));
  if (n <= 20) {
    let total = sum(differences);
    const sign = new Int8Array(n).fill(1);
    let hits = 0;
    for (let flip = 1; ; flip++) {
      if (Math.abs(total) >= reach) hits++;
      if (flip === 2 ** n) break;
      // Gray code: the next assignment differs in one sign.
      const bit = 31 - Math.clz32(flip & -flip);
      total -= 2 * sign[bit] * differences[bit];
      sign[bit] = -sign[bit] as 1 | -1;
    }
    return { p: hits / 2 ** n, n, smallestP: 2 / 2 ** n, method: 'exact' };
  }
  const stream = random(seed, 'sign-flip');
  const flips = 100_000;
  let hits = 1;
  for (let flip = 0; flip < flips; flip++) {
    let total = 0;
    for (const difference of differences) total += stream.uniform() < 0.5 ? difference : -difference;
    if (Math.abs(total) >= reach) hits++;
  }
  return { p: hits / (flips + 1), n, smallestP: 1 / (flips + 1), method: 'sampled' };
}

/** Exact two-sided McNemar test: `onlyA` questions only the first model got right, `onlyB` only the second. */
export function mcnemarTest(onlyA: number, onlyB: number): number {
  const n = onlyA + onlyB;
  if (![onlyA, onlyB].every((count) => Number.isInteger(count) && count >= 0)) throw new Error(`mcnemarTest: expected two counts, found ${onlyA} and ${onlyB}.`);
  // P(X <= the smaller count) for n fair coins, each term from the one before; in logarithms, for 2^-n may underflow.
  let logTerm = -n * Math.LN2;
  let tail = Math.exp(logTerm);
  for (let k = 1; k <= Math.min(onlyA, onlyB); k++) {
    logTerm += Math.log((n - k + 1) / k);
    tail += Math.exp(logTerm);
  }
  return Math.min(1, 2 * tail);
}

/** Holm's step-down adjusted p values, in the order given (Holm 1979). */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((_, i) => i).sort((i, j) => pValues[i] - pValues[j]);
  const adjusted = new Array<number>(pValues.length);
  let largest = 0;
  order.forEach((i, rank) => {
    largest = Math.max(largest, Math.min(1, (pValues.length - rank) * pValues[i]));
    adjusted[i] = largest;
  });
  return adjusted;
}

/** Cohen's d of b against a with pooled deviation, and Hedges' small-sample correction of it. */
export function effectSize(a: readonly number[], b: readonly number[]): { d: number; hedgesG: number } {
  const degrees = a.length + b.length - 2;
  const pooled = Math.sqrt(((a.length - 1) * variance(a) + (b.length - 1) * variance(b)) / degrees);
  if (pooled === 0) throw new Error('effectSize: expected values that vary, found two constant samples.');
  const d = (mean(b) - mean(a)) / pooled;
  return { d, hedgesG: d * (1 - 3 / (4 * degrees - 1)) };
}

export interface PowerSettings {
  /** Deviation of the paired differences, or of each group. */
  readonly std: number;
  readonly design: 'paired' | 'independent';
  /** Two-sided. */
  readonly alpha?: number;
}

/** The chance that a t test over `seeds` (in each group) sees a true `difference`. */
export function power(difference: number, seeds: number, { std, design, alpha = 0.05 }: PowerSettings): number {
  const degrees = design === 'paired' ? seeds - 1 : 2 * seeds - 2;
  if (degrees < 1) return 0;
  const noncentrality = Math.abs(difference) / (std * Math.sqrt((design === 'paired' ? 1 : 2) / seeds));
  // Far out, the series behind the distribution loses its digits, and the answer is 1.
  if (noncentrality > 30) return 1;
  const critical = studentt.inv(1 - alpha / 2, degrees);
  return 1 - noncentralt.cdf(critical, degrees, noncentrality) + noncentralt.cdf(-critical, degrees, noncentrality);
}

/** The smallest true difference that `seeds` show with the given power. Infinite with too few seeds for any test. */
export function detectableDifference(seeds: number, settings: PowerSettings, wanted = 0.8): number {
  if (settings.std === 0) return 0;
  if (power(20 * settings.std, seeds, settings) < wanted && seeds < 2) return Infinity;
  let [low, high] = [0, settings.std];
  while (power(high, seeds, settings) < wanted) {
    high *= 2;
    if (high > 1e6 * settings.std) return Infinity;
  }
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (power(middle, seeds, settings) < wanted) low = middle;
    else high = middle;
  }
  return high;
}

/** The smallest number of seeds (in each group) that shows `difference` with the given power; up to 10,000. */
export function seedsNeeded(difference: number, settings: PowerSettings, wanted = 0.8): number {
  if (difference === 0) throw new Error('seedsNeeded: expected a difference other than 0: no number of seeds shows one of 0.');
  let [low, high] = [1, 2];
  while (power(difference, high, settings) < wanted) {
    [low, high] = [high, high * 2];
    if (high > 10_000) return Infinity;
  }
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (power(difference, middle, settings) < wanted) low = middle;
    else high = middle;
  }
  return high;
}

/** "With 5 seeds you can see a difference of 1.62 (80 % power, two-sided 5 %, paired, spread 1.01)." */
export function powerSentence(seeds: number, settings: PowerSettings, wanted = 0.8): string {
  const difference = detectableDifference(seeds, settings, wanted);
  const conditions = `${Math.round(100 * wanted)} % power, two-sided ${100 * (settings.alpha ?? 0.05)} %, ${settings.design}, spread ${settings.std.toPrecision(3)}`;
  if (!Number.isFinite(difference)) return `With ${seeds} seed${seeds === 1 ? '' : 's'} you can see no difference at all: a spread needs two (${conditions}).`;
  return `With ${seeds} seeds you can see a difference of ${difference.toPrecision(3)} (${conditions}).`;
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

function checked(values: readonly number[], least: number): readonly number[] {
  if (values.length < least) throw new Error(`Expected at least ${least} value${least > 1 ? 's' : ''}, found ${values.length}.`);
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) throw new Error(`Expected finite values, found ${values[wrong]} at index ${wrong}. Leave a failed run out and say so; do not average it.`);
  return values;
}

function paired(a: readonly number[], b: readonly number[]): number[] {
  if (a.length !== b.length) throw new Error(`A paired comparison needs the same seeds on both sides, found ${a.length} and ${b.length} values.`);
  checked(a, 1);
  checked(b, 1);
  return b.map((value, i) => value - a[i]);
}
