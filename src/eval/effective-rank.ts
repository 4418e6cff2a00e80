/**
 * Effective rank (Roy and Vetterli 2007): the exponential of the entropy of the singular values taken as shares. 1 for rows that are multiples of one, and
 * the number of rows for orthogonal ones of equal length. rows: each of the same length.
 */
export function effectiveRank(rows: readonly ArrayLike<number>[]): number {
  const values = symmetricEigenvalues(gram(rows)).map((x) => Math.sqrt(Math.max(0, x)));
  const total = values.reduce((a, b) => a + b, 0);
  if (total === 0) return 0;
  return Math.exp(-values.reduce((sum, value) => sum + (value > 0 ? (value / total) * Math.log(value / total) : 0), 0));
}

const gram = (rows: readonly ArrayLike<number>[]): number[][] =>
  rows.map((a) => rows.map((b) => {
    let product = 0;
    for (let c = 0; c < a.length; c++) product += a[c] * b[c];
    return product;
  }));

/** Eigenvalues of a small symmetric matrix by cyclic Jacobi rotations (Golub and Van Loan, section 8.5), largest first. */
export function symmetricEigenvalues(matrix: readonly (readonly number[])[]): number[] {
  const a = matrix.map((row) => [...row]);
  const n = a.length;
  if (a.some((row) => row.length !== n)) throw new Error(`Eigenvalues need a square matrix, found ${n} rows of ${a.map(({ length }) => length).join(', ')}.`);
  const scale = a.reduce((sum, row) => sum + row.reduce((s, x) => s + x * x, 0), 0);
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) off += 2 * a[i][j] ** 2;
    if (off <= 1e-24 * scale) break;
    for (let p = 0; p < n - 1; p++) {
      for (let q = p + 1; q < n; q++) {
        if (a[p][q] === 0) continue;
        const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const c = 1 / Math.sqrt(t * t + 1);
        const s = t * c;
        for (let k = 0; k < n; k++) [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
        for (let k = 0; k < n; k++) [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
      }
    }
  }
  return a.map((row, i) => row[i]).sort((x, y) => y - x);
}
