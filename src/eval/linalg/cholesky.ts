export interface Factor {
  /** Rows of the matrix and columns that were needed. */
  readonly size: number;
  readonly rank: number;
  /** [size, size] row-major, of which the first `rank` columns are filled: values * transposed(values) is the matrix. */
  readonly values: Float64Array;
}

/**
 * Cholesky factor with pivoting of a symmetric positive semidefinite matrix [size, size]. It ends where what is left is rounding
 * (size * epsilon of the largest diagonal entry, as LAPACK's dpstrf), so a singular matrix gets a thin factor instead of a failure.
 */
export function pivotedCholesky(matrix: Float64Array, size: number): Factor {
  if (matrix.length !== size * size) throw new Error(`pivotedCholesky: expected ${size} x ${size} values, found ${matrix.length}.`);
  const values = new Float64Array(size * size);
  const left = Float64Array.from({ length: size }, (_, i) => matrix[i * size + i]);
  const order = Int32Array.from({ length: size }, (_, i) => i);
  const tolerance = size * Number.EPSILON * Math.max(0, ...left);
  for (let k = 0; k < size; k++) {
    let best = k;
    for (let i = k + 1; i < size; i++) if (left[order[i]] > left[order[best]]) best = i;
    [order[k], order[best]] = [order[best], order[k]];
    const pivot = order[k];
    if (!(left[pivot] > tolerance)) return { size, rank: k, values };
    const diagonal = Math.sqrt(left[pivot]);
    const pivotRow = pivot * size;
    values[pivotRow + k] = diagonal;
    for (let i = k + 1; i < size; i++) {
      const row = order[i] * size;
      const entry = (matrix[pivotRow + order[i]] - dot(values, row, pivotRow, k)) / diagonal;
      values[row + k] = entry;
      left[order[i]] -= entry * entry;
    }
  }
  return { size, rank: size, values };
}

function dot(x: Float64Array, a: number, b: number, length: number): number {
  let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  let k = 0;
  for (; k + 3 < length; k += 4) {
    s0 += x[a + k] * x[b + k];
    s1 += x[a + k + 1] * x[b + k + 1];
    s2 += x[a + k + 2] * x[b + k + 2];
    s3 += x[a + k + 3] * x[b + k + 3];
  }
  for (; k < length; k++) s0 += x[a + k] * x[b + k];
  return s0 + s1 + (s2 + s3);
}
