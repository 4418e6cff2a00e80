import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { random } from '../../core/random.js';
import { pivotedCholesky } from './cholesky.js';
import { addTransposedProduct } from './gram.js';
import { singularValues, tridiagonalEigenvalues } from './singular-values.js';

const normals = (count: number, seed: number) => Float64Array.from(random(seed, 'linalg').normals(count));
const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i])), 0);
const rowsOf = (matrix: Float64Array, cols: number) => ({ cols, fill: (r: number, row: Float64Array) => row.set(matrix.subarray(r * cols, (r + 1) * cols)) });

/** Applies I - 2 v v' / v'v from the left to `matrix` [rows, cols]: an orthogonal change that keeps singular values. */
function reflectRows(matrix: Float64Array, rows: number, cols: number, seed: number): void {
  const v = normals(rows, seed);
  const squares = v.reduce((total, value) => total + value * value, 0);
  for (let c = 0; c < cols; c++) {
    let product = 0;
    for (let r = 0; r < rows; r++) product += v[r] * matrix[r * cols + c];
    for (let r = 0; r < rows; r++) matrix[r * cols + c] -= (2 * product * v[r]) / squares;
  }
}

const transposed = (matrix: Float64Array, rows: number, cols: number) => Float64Array.from(matrix, (_, i) => matrix[(i % rows) * cols + Math.floor(i / rows)]);

/** A matrix [rows, cols] with the given singular values. */
function withSingularValues(values: readonly number[], rows: number, cols: number): Float64Array {
  let matrix = new Float64Array(rows * cols);
  values.forEach((value, i) => (matrix[i * cols + i] = value));
  for (let k = 0; k < 3; k++) reflectRows(matrix, rows, cols, k);
  matrix = transposed(matrix, rows, cols);
  for (let k = 3; k < 6; k++) reflectRows(matrix, cols, rows, k);
  return transposed(matrix, cols, rows);
}

describe('singular values', () => {
  test('are found to rounding, zeros and repeated ones too', () => {
    const values = [7, 7, 3, 1, 1e-3, 1e-9, 0, 0];
    for (const [rows, cols] of [[8, 8], [13, 8], [8, 13]]) {
      assert.ok(largestDifference(singularValues(withSingularValues(values, rows, cols), rows, cols), values) < 1e-14 * 7 * 4, `${rows} x ${cols}`);
    }
  });

  test('of permuted diagonal and zero matrices are what stands there', () => {
    assert.ok(largestDifference(singularValues(Float64Array.of(0, 0, -2, 5, 0, 0, 0, 0, 0), 3, 3), [5, 2, 0]) < 1e-14);
    assert.deepEqual([...singularValues(new Float64Array(6), 3, 2)], [0, 0]);
    assert.equal(singularValues(new Float64Array(0), 0, 0).length, 0);
  });

  test('come from the eigenvalues of a tridiagonal matrix', () => {
    // 2 on the diagonal, -1 beside it: 2 - 2 cos(k pi / (n + 1)).
    const n = 50;
    const found = tridiagonalEigenvalues(new Float64Array(n).fill(2), new Float64Array(n).fill(-1)).sort();
    assert.ok(largestDifference(found, Array.from({ length: n }, (_, k) => 2 - 2 * Math.cos(((k + 1) * Math.PI) / (n + 1)))) < 1e-13);
  });
});

describe('a product of blocks', () => {
  test('equals the plain sums at odd sizes', () => {
    const [rows, a, b] = [301, 7, 5];
    const [x, y] = [normals(rows * a, 1), normals(rows * b, 2)];
    const expected = Array.from({ length: a * b }, (_, at) => Array.from({ length: rows }, (_, r) => x[r * a + Math.floor(at / b)] * y[r * b + (at % b)]).reduce((p, q) => p + q, 0));
    const out = new Float64Array(a * b);
    addTransposedProduct(out, rows, rowsOf(x, a), rowsOf(y, b));
    assert.ok(largestDifference(out, expected) < 1e-11);
    const gram = new Float64Array(a * a);
    const plain = new Float64Array(a * a);
    addTransposedProduct(gram, rows, rowsOf(x, a), 'same');
    addTransposedProduct(plain, rows, rowsOf(x, a), rowsOf(x, a));
    assert.ok(largestDifference(gram, plain) < 1e-11);
  });
});

describe('a pivoted Cholesky factor', () => {
  test('gives the matrix back, and its rank', () => {
    const [size, rank] = [12, 5];
    const basis = normals(rank * size, 3);
    const matrix = new Float64Array(size * size);
    addTransposedProduct(matrix, rank, rowsOf(basis, size), 'same');
    const factor = pivotedCholesky(matrix, size);
    assert.equal(factor.rank, rank);
    const again = new Float64Array(size * size);
    for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) for (let k = 0; k < rank; k++) again[i * size + j] += factor.values[i * size + k] * factor.values[j * size + k];
    assert.ok(largestDifference(again, matrix) < 1e-12);
    assert.equal(pivotedCholesky(new Float64Array(9), 3).rank, 0);
  });
});
