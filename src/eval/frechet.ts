import { startWorker } from '../core/process.js';
import { random } from '../core/random.js';
import { checkComparable, type Features } from './features.js';
import { pivotedCholesky, type Factor } from './linalg/cholesky.js';
import { addTransposedProduct } from './linalg/gram.js';
import { singularValues } from './linalg/singular-values.js';

/** Mean and sample covariance (n - 1) of features, in float64. `n` is absent where published statistics do not say it. */
export interface Moments {
  readonly name: string;
  readonly n?: number;
  readonly dim: number;
  /** Of the features they come from, where those were at hand. */
  readonly hash?: string;
  readonly extractor?: string;
  readonly mean: Float64Array;
  /** [dim, dim] row-major. */
  readonly covariance: Float64Array;
}

/** Moments with a factor of the covariance, the costly part that two comparisons with one reference share. */
export interface FactoredMoments extends Moments {
  readonly factor: Factor;
}

export interface Frechet {
  readonly distance: number;
  /** |mean a - mean b|^2. */
  readonly meanTerm: number;
  readonly traceA: number;
  readonly traceB: number;
  /** Trace of the square root of the product of both covariances. */
  readonly traceRoot: number;
  readonly rankA: number;
  readonly rankB: number;
}

export function moments({ name, n, dim, values }: Features): Moments {
  if (n < 2) throw new Error(`${name}: a covariance needs at least 2 rows, found ${n}.`);
  const mean = new Float64Array(dim);
  for (let r = 0; r < n; r++) for (let c = 0; c < dim; c++) mean[c] += values[r * dim + c];
  for (let c = 0; c < dim; c++) mean[c] /= n;
  const covariance = new Float64Array(dim * dim);
  const fill = (r: number, row: Float64Array) => {
    for (let c = 0; c < dim; c++) row[c] = values[r * dim + c] - mean[c];
  };
  addTransposedProduct(covariance, n, { cols: dim, fill }, 'same');
  for (let i = 0; i < covariance.length; i++) covariance[i] /= n - 1;
  return { name, n, dim, mean, covariance };
}

export const factored = (m: Moments): FactoredMoments => ({ ...m, factor: pivotedCholesky(m.covariance, m.dim) });

/**
 * Fréchet distance of two Gaussians (Dowson and Landau 1982): |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2).
 * With S = L L', the last trace is the sum of the singular values of L1' L2, which is real and accurate also where a covariance is singular.
 */
export function frechetDistance(a: Moments | FactoredMoments, b: Moments | FactoredMoments): Frechet {
  if (a.dim !== b.dim) throw new Error(`${a.name} has ${a.dim} columns and ${b.name} has ${b.dim}: extract both with one network.`);
  const { dim } = a;
  const factorOf = (side: Moments | FactoredMoments): Factor => ('factor' in side ? side.factor : pivotedCholesky(side.covariance, dim));
  const [factorA, factorB] = [factorOf(a), factorOf(b)];
  const columns = ({ values, rank }: Factor) => ({ cols: rank, fill: (r: number, row: Float64Array) => row.set(values.subarray(r * dim, r * dim + rank)) });
  const cross = new Float64Array(factorA.rank * factorB.rank);
  if (cross.length > 0) addTransposedProduct(cross, dim, columns(factorA), columns(factorB));
  const traceRoot = sum(singularValues(cross, factorA.rank, factorB.rank));
  let meanTerm = 0;
  for (let c = 0; c < dim; c++) meanTerm += (a.mean[c] - b.mean[c]) ** 2;
  const [traceA, traceB] = [trace(a.covariance, dim), trace(b.covariance, dim)];
  return { distance: meanTerm + traceA + traceB - 2 * traceRoot, meanTerm, traceA, traceB, traceRoot, rankA: factorA.rank, rankB: factorB.rank };
}

/** Factored moments of both sides, the first in a worker of its own when they are large enough to pay for it. */
export async function factoredMomentsOf(a: Features, b: Features): Promise<[FactoredMoments, FactoredMoments]> {
  checkComparable(a, b);
  if (a.n * a.dim ** 2 < 2e9) return [factored(moments(a)), factored(moments(b))];
  const pending = inWorker(a);
  // Let the worker start before this thread is busy for seconds.
  await new Promise((resolve) => setImmediate(resolve));
  const here = factored(moments(b));
  return [await pending, here];
}

function inWorker(side: Features): Promise<FactoredMoments> {
  return new Promise((resolve, reject) => {
    const worker = startWorker(import.meta.url, './frechet-worker', { workerData: side });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => code !== 0 && reject(new Error(`The worker for ${side.name} ended with status ${code}.`)));
  });
}

export interface FrechetLimit {
  /** The distance expected for infinitely many pictures. */
  readonly limit: number;
  /** Distance = limit + slope / n: what a finite sample adds. */
  readonly slope: number;
  readonly points: { readonly n: number; readonly distance: number }[];
}

/**
 * FID-infinity (Chong and Forsyth 2020): the distance of growing random samples of `generated` is extrapolated linearly in 1/n to 0.
 * Samples are nested, from one shuffle, from half of the pictures to all.
 */
export function frechetLimit(reference: FactoredMoments, generated: Features, { points = 8, seed = 0 } = {}): FrechetLimit {
  const { n, dim, values } = generated;
  if (n < 2 * points) throw new Error(`${generated.name}: FID-infinity needs at least ${2 * points} rows, found ${n}.`);
  const order = random(seed, 'fid-infinity').shuffle(Array.from({ length: n }, (_, i) => i));
  const sizes = Array.from({ length: points }, (_, i) => Math.round(n / 2 + (i * (n - n / 2)) / (points - 1)));
  // Sums about a fixed centre near the mean lose no digits, and let each sample start from the one before.
  const center = new Float64Array(dim);
  for (let r = 0; r < n; r++) for (let c = 0; c < dim; c++) center[c] += values[r * dim + c] / n;
  const total = new Float64Array(dim);
  const products = new Float64Array(dim * dim);
  let done = 0;
  const measured = sizes.map((size) => {
    const fill = (r: number, row: Float64Array) => {
      const from = order[done + r] * dim;
      for (let c = 0; c < dim; c++) row[c] = values[from + c] - center[c];
    };
    const row = new Float64Array(dim);
    for (let r = 0; r < size - done; r++) {
      fill(r, row);
      for (let c = 0; c < dim; c++) total[c] += row[c];
    }
    addTransposedProduct(products, size - done, { cols: dim, fill }, 'same');
    done = size;
    const mean = total.map((value, c) => center[c] + value / size);
    const covariance = new Float64Array(dim * dim);
    for (let i = 0; i < dim; i++) for (let j = 0; j < dim; j++) covariance[i * dim + j] = (products[i * dim + j] - (total[i] * total[j]) / size) / (size - 1);
    return { n: size, distance: frechetDistance(reference, { name: generated.name, n: size, dim, mean, covariance }).distance };
  });
  const x = measured.map((point) => 1 / point.n);
  const y = measured.map((point) => point.distance);
  const [mx, my] = [sum(x) / points, sum(y) / points];
  const slope = sum(x.map((value, i) => (value - mx) * (y[i] - my))) / sum(x.map((value) => (value - mx) ** 2));
  return { limit: my - slope * mx, slope, points: measured };
}

const sum = (values: ArrayLike<number>) => {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
};

const trace = (matrix: Float64Array, dim: number) => {
  let total = 0;
  for (let i = 0; i < dim; i++) total += matrix[i * dim + i];
  return total;
};
