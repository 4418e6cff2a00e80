/**
 * Singular values of a dense matrix [rows, cols], row-major, largest first; `matrix` is overwritten. Each is right to about epsilon times the
 * largest, also where they are zero: the square roots of the eigenvalues of a Gram matrix would have only half the digits there.
 */
export function singularValues(matrix: Float64Array, rows: number, cols: number): Float64Array {
  if (matrix.length !== rows * cols) throw new Error(`singularValues: expected ${rows} x ${cols} values, found ${matrix.length}.`);
  if (rows < cols) return singularValues(transpose(matrix, rows, cols), cols, rows);
  if (cols === 0) return new Float64Array(0);
  const { diagonal, above } = bidiagonalize(matrix, rows, cols);
  // A bidiagonal B has the singular values s where [0, transposed B; B, 0] has the eigenvalues +s and -s; sorted by index pairs that
  // matrix is tridiagonal with a zero diagonal and d1, e1, d2, e2, ... beside it (Golub and Kahan 1965).
  const beside = new Float64Array(2 * cols);
  for (let k = 0; k < cols; k++) {
    beside[2 * k] = diagonal[k];
    beside[2 * k + 1] = above[k];
  }
  return tridiagonalEigenvalues(new Float64Array(2 * cols), beside).sort().reverse().slice(0, cols).map((value) => Math.max(0, value));
}

/**
 * Householder reduction to upper bidiagonal form, rows >= cols. The two rank-one updates of a step are applied in the pass that forms the next
 * step's product, so that the matrix is read twice and written once a step.
 */
function bidiagonalize(a: Float64Array, rows: number, cols: number): { diagonal: Float64Array; above: Float64Array } {
  const diagonal = new Float64Array(cols);
  const above = new Float64Array(cols);
  const v = new Float64Array(rows); // reflector of the current column
  const w = new Float64Array(cols); // what it does to each column
  const u = new Float64Array(cols); // reflector of the current row
  const y = new Float64Array(rows); // what it does to each row
  const previous = { changes: false, v: new Float64Array(rows), w: new Float64Array(cols), u: new Float64Array(cols), y: new Float64Array(rows) };

  for (let k = 0; k < cols; k++) {
    for (let i = k; i < rows; i++) v[i] = a[i * cols + k] - previous.v[i] * previous.w[k] - previous.y[i] * previous.u[k];
    const column = reflect(v, k, rows);
    diagonal[k] = column.norm;
    w.fill(0, k + 1);
    if (column.tau !== 0 || previous.changes) updateAndSum(a, rows, cols, k, v, w, previous);
    for (let j = k + 1; j < cols; j++) w[j] *= column.tau;

    let rowTau = 0;
    if (k + 1 < cols) {
      for (let j = k + 1; j < cols; j++) u[j] = a[k * cols + j] - v[k] * w[j];
      const row = reflect(u, k + 1, cols);
      above[k] = row.norm;
      rowTau = row.tau;
      let wu = 0;
      for (let j = k + 1; j < cols; j++) wu += w[j] * u[j];
      for (let i = k + 1; i < rows; i++) y[i] = rowTau === 0 ? 0 : rowTau * (dotRow(a, i * cols, u, k + 1, cols) - v[i] * wu);
    }
    previous.changes = column.tau !== 0 || rowTau !== 0;
    previous.v.set(v);
    previous.w.set(w);
    previous.u.set(u);
    previous.y.set(y);
  }
  return { diagonal, above };
}

/** Turns x[from..to) into a reflector that maps it onto its first axis: I - tau x x'. Gives tau and the resulting first entry. */
function reflect(x: Float64Array, from: number, to: number): { tau: number; norm: number } {
  let largest = 0;
  for (let i = from + 1; i < to; i++) largest = Math.max(largest, Math.abs(x[i]));
  // Already on its axis: nothing to reflect, and a sparse matrix stays cheap.
  if (largest === 0) {
    const norm = x[from];
    x.fill(0, from, to);
    return { tau: 0, norm };
  }
  largest = Math.max(largest, Math.abs(x[from]));
  let squares = 0;
  for (let i = from; i < to; i++) squares += (x[i] / largest) ** 2;
  const length = largest * Math.sqrt(squares);
  const norm = x[from] > 0 ? -length : length;
  // Scaled so that its largest entries are near 1: no overflow, and tau in [1, 2].
  const first = x[from] - norm;
  for (let i = from + 1; i < to; i++) x[i] /= first;
  x[from] = 1;
  return { tau: -first / norm, norm };
}

/** For rows i >= k and columns j > k: a -= previous.v previous.w' + previous.y previous.u', and w += transposed(a) v, four rows at a time. */
function updateAndSum(
  a: Float64Array, rows: number, cols: number, k: number, v: Float64Array, w: Float64Array,
  previous: { v: Float64Array; w: Float64Array; u: Float64Array; y: Float64Array },
): void {
  const { w: pw, u: pu } = previous;
  let i = k;
  for (; i + 3 < rows; i += 4) {
    const o0 = i * cols, o1 = o0 + cols, o2 = o1 + cols, o3 = o2 + cols;
    const p0 = previous.v[i], p1 = previous.v[i + 1], p2 = previous.v[i + 2], p3 = previous.v[i + 3];
    const q0 = previous.y[i], q1 = previous.y[i + 1], q2 = previous.y[i + 2], q3 = previous.y[i + 3];
    const v0 = v[i], v1 = v[i + 1], v2 = v[i + 2], v3 = v[i + 3];
    for (let j = k + 1; j < cols; j++) {
      const x = pw[j], z = pu[j];
      const a0 = a[o0 + j] - p0 * x - q0 * z;
      const a1 = a[o1 + j] - p1 * x - q1 * z;
      const a2 = a[o2 + j] - p2 * x - q2 * z;
      const a3 = a[o3 + j] - p3 * x - q3 * z;
      a[o0 + j] = a0;
      a[o1 + j] = a1;
      a[o2 + j] = a2;
      a[o3 + j] = a3;
      w[j] += v0 * a0 + v1 * a1 + (v2 * a2 + v3 * a3);
    }
  }
  for (; i < rows; i++) {
    const o = i * cols;
    for (let j = k + 1; j < cols; j++) {
      a[o + j] -= previous.v[i] * pw[j] + previous.y[i] * pu[j];
      w[j] += v[i] * a[o + j];
    }
  }
}

function dotRow(a: Float64Array, offset: number, u: Float64Array, from: number, to: number): number {
  let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  let j = from;
  for (; j + 3 < to; j += 4) {
    s0 += a[offset + j] * u[j];
    s1 += a[offset + j + 1] * u[j + 1];
    s2 += a[offset + j + 2] * u[j + 2];
    s3 += a[offset + j + 3] * u[j + 3];
  }
  for (; j < to; j++) s0 += a[offset + j] * u[j];
  return s0 + s1 + (s2 + s3);
}

/**
 * Eigenvalues of the symmetric tridiagonal matrix with `diagonal` [n] and `beside` [n], whose last entry is unused, by implicit QL steps with
 * Wilkinson's shift (Bowdler, Martin, Reinsch and Wilkinson 1968). Both are overwritten; the eigenvalues are in no order.
 */
export function tridiagonalEigenvalues(diagonal: Float64Array, beside: Float64Array): Float64Array {
  const [d, e] = [diagonal, beside];
  const n = d.length;
  e[n - 1] = 0;
  // A coupling this small against the whole matrix moves no eigenvalue by more than rounding does.
  let scale = 0;
  for (let i = 0; i < n; i++) scale = Math.max(scale, Math.abs(d[i]) + Math.abs(e[i]));
  const negligible = Number.EPSILON * scale * 0.5;
  for (let l = 0; l < n; l++) {
    for (let sweep = 0; ; sweep++) {
      let m = l;
      while (m < n - 1 && Math.abs(e[m]) > negligible) m++;
      if (m === l) break;
      if (sweep === 60) throw new Error(`tridiagonalEigenvalues: no convergence at ${l} of ${n} after 60 sweeps. Are all entries finite?`);
      const halfGap = (d[l + 1] - d[l]) / (2 * e[l]);
      let g = d[m] - d[l] + e[l] / (halfGap + (halfGap < 0 ? -1 : 1) * Math.hypot(halfGap, 1));
      let [s, c, p] = [1, 1, 0];
      let i = m - 1;
      for (; i >= l; i--) {
        const f = s * e[i];
        const b = c * e[i];
        const r = Math.sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1] -= p;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        const t = (d[i] - g) * s + 2 * c * b;
        p = s * t;
        d[i + 1] = g + p;
        g = c * t - b;
      }
      if (i >= l) continue;
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
  return d;
}

function transpose(matrix: Float64Array, rows: number, cols: number): Float64Array {
  const out = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j * rows + i] = matrix[i * cols + j];
  return out;
}
