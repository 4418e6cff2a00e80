import { random } from '../core/random.js';
import { checkComparable, selectRows, type Features } from './features.js';
import { addTransposedProduct } from './linalg/gram.js';

/** A kernel of two feature vectors, from their product and squared lengths. */
type Kernel = (product: number, squaredX: number, squaredY: number) => number;

const blockRows = 512;

/** (x . y / dim + 1)^3, the kernel of KID (Binkowski et al. 2018). */
const cubic = (dim: number): Kernel => (product) => (product / dim + 1) ** 3;

/** Unbiased squared maximum mean discrepancy with the cubic kernel: the mean over pairs leaves out each picture's pair with itself. */
export function unbiasedKid(x: Features, y: Features): number {
  checkComparable(x, y);
  if (x.n < 2 || y.n < 2) throw new Error(`KID needs at least 2 rows a side, found ${x.n} and ${y.n}.`);
  const kernel = cubic(x.dim);
  const within = (side: Features) => (kernelSum(side, side, kernel) - diagonalSum(side, kernel)) / (side.n * (side.n - 1));
  return within(x) + within(y) - (2 * kernelSum(x, y, kernel)) / (x.n * y.n);
}

export interface KidSettings {
  readonly subsets?: number;
  readonly subsetSize?: number;
  readonly seed?: number;
}

/** KID over random subsets, as torch-fidelity reports it: mean and population deviation of the subsets' values. */
export function kid(x: Features, y: Features, { subsets = 100, subsetSize = 1000, seed = 0 }: KidSettings = {}): { mean: number; std: number; values: number[] } {
  checkComparable(x, y);
  if (subsetSize > Math.min(x.n, y.n)) {
    throw new Error(`KID: subsets of ${subsetSize} need as many rows a side, found ${x.n} in ${x.name} and ${y.n} in ${y.name}. Ask for a smaller subset size.`);
  }
  const indices = (side: Features, which: string, subset: number) =>
    random(seed, 'kid', which, subset).shuffle(Array.from({ length: side.n }, (_, i) => i)).slice(0, subsetSize);
  const pairs = Array.from({ length: subsets }, (_, subset) => [indices(x, 'x', subset), indices(y, 'y', subset)] as const);
  const values = kidOfSubsets(x, y, pairs);
  const mean = values.reduce((a, b) => a + b, 0) / subsets;
  return { mean, std: Math.sqrt(values.reduce((total, value) => total + (value - mean) ** 2, 0) / subsets), values };
}

/** KID of given pairs of row lists. Many subsets of few rows share one kernel matrix instead of computing a product each. */
export function kidOfSubsets(x: Features, y: Features, subsets: readonly (readonly [readonly number[], readonly number[]])[]): number[] {
  const separate = subsets.reduce((total, [a, b]) => total + a.length ** 2 + b.length ** 2 + a.length * b.length, 0);
  const shared = x.n ** 2 + y.n ** 2 + x.n * y.n;
  // 64 million float64 kernel values are 512 MB, the most that is kept.
  if (shared > separate || shared > 64e6) return subsets.map(([a, b]) => unbiasedKid(selectRows(x, a), selectRows(y, b)));
  const kernel = cubic(x.dim);
  const [xx, yy, xy] = [kernelMatrix(x, x, kernel), kernelMatrix(y, y, kernel), kernelMatrix(x, y, kernel)];
  const within = (matrix: Float64Array, n: number, rows: readonly number[]) => {
    let total = 0;
    for (const i of rows) for (const j of rows) if (i !== j) total += matrix[i * n + j];
    return total / (rows.length * (rows.length - 1));
  };
  return subsets.map(([a, b]) => {
    let between = 0;
    for (const i of a) for (const j of b) between += xy[i * y.n + j];
    return within(xx, x.n, a) + within(yy, y.n, b) - (2 * between) / (a.length * b.length);
  });
}

/**
 * CMMD (Jayasumana et al. 2024): squared discrepancy with a Gaussian kernel, biased estimator, times 1000. The paper takes CLIP embeddings of
 * unit length and sigma 10.
 */
export function cmmd(x: Features, y: Features, sigma = 10): number {
  checkComparable(x, y);
  const gamma = 1 / (2 * sigma ** 2);
  const kernel: Kernel = (product, squaredX, squaredY) => Math.exp(-gamma * Math.max(0, squaredX + squaredY - 2 * product));
  const mean = (a: Features, b: Features) => kernelSum(a, b, kernel) / (a.n * b.n);
  return 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y));
}

function kernelSum(x: Features, y: Features, kernel: Kernel): number {
  let total = 0;
  forEachProduct(x, y, (value) => {
    total += value;
  }, kernel);
  return total;
}

function diagonalSum(x: Features, kernel: Kernel): number {
  let total = 0;
  for (const square of squaredLengths(x)) total += kernel(square, square, square);
  return total;
}

function kernelMatrix(x: Features, y: Features, kernel: Kernel): Float64Array {
  const matrix = new Float64Array(x.n * y.n);
  forEachProduct(x, y, (value, i, j) => {
    matrix[i * y.n + j] = value;
  }, kernel);
  return matrix;
}

/** Calls `visit` with the kernel of each row of x with each row of y, block by block; of a side with itself each block is computed once for both orders. */
export function forEachProduct(x: Features, y: Features, visit: (value: number, i: number, j: number) => void, kernel: Kernel): void {
  const [lengthsX, lengthsY] = [squaredLengths(x), squaredLengths(y)];
  for (let i = 0; i < x.n; i += blockRows) {
    const rowsX = Math.min(blockRows, x.n - i);
    for (let j = 0; j < (x === y ? i + 1 : y.n); j += blockRows) {
      const rowsY = Math.min(blockRows, y.n - j);
      const block = new Float64Array(rowsX * rowsY);
      addTransposedProduct(block, x.dim, rowsAsColumns(x, i, rowsX), rowsAsColumns(y, j, rowsY));
      for (let r = 0; r < rowsX; r++) {
        for (let c = 0; c < rowsY; c++) {
          const value = kernel(block[r * rowsY + c], lengthsX[i + r], lengthsY[j + c]);
          visit(value, i + r, j + c);
          if (x === y && i !== j) visit(value, j + c, i + r);
        }
      }
    }
  }
}

/** Rows `from`.. of features as the columns of a matrix [dim, count]. */
const rowsAsColumns = ({ values, dim }: Features, from: number, count: number) => ({
  cols: count,
  fill: (axis: number, row: Float64Array) => {
    for (let c = 0; c < count; c++) row[c] = values[(from + c) * dim + axis];
  },
});

function squaredLengths({ values, n, dim }: Features): Float64Array {
  const squares = new Float64Array(n);
  for (let r = 0; r < n; r++) for (let c = 0; c < dim; c++) squares[r] += values[r * dim + c] ** 2;
  return squares;
}
