/**
 * Dense float64 products, blocked so that the inner loop runs from the first-level cache: panels of four columns are packed side by side, and a
 * 4 x 4 tile of the result stays in registers over one strip of rows.
 */

const tile = 4;
const strip = 256;

/** Rows `from`..`to` of a matrix, as float64, row-major. `fill` writes the row with the given index into `row`. */
export type RowFiller = (index: number, row: Float64Array) => void;

/**
 * Adds sum over rows r of a[r, i] * b[r, j] to `out` [colsA, colsB], row-major: the product of a transposed and b.
 * With `symmetric` (a and b the same matrix) only tiles on or below the diagonal are computed, and mirrored.
 */
export function addTransposedProduct(
  out: Float64Array, rows: number, a: { cols: number; fill: RowFiller }, b: { cols: number; fill: RowFiller } | 'same',
): void {
  const symmetric = b === 'same';
  const colsA = a.cols;
  const colsB = symmetric ? colsA : b.cols;
  const packedA = new Float64Array(Math.ceil(colsA / tile) * tile * strip);
  const packedB = symmetric ? packedA : new Float64Array(Math.ceil(colsB / tile) * tile * strip);
  const row = new Float64Array(Math.max(colsA, colsB));
  for (let from = 0; from < rows; from += strip) {
    const count = Math.min(strip, rows - from);
    pack(packedA, a.fill, from, count, colsA, row);
    if (!symmetric) pack(packedB, b.fill, from, count, colsB, row);
    for (let i = 0; i < colsA; i += tile) {
      const last = symmetric ? i : colsB - 1;
      for (let j = 0; j <= last; j += tile) addTile(out, colsB, packedA, i, packedB, j, count, colsA, colsB);
    }
  }
  if (symmetric) for (let i = 0; i < colsA; i++) for (let j = 0; j < i; j++) out[j * colsA + i] = out[i * colsA + j];
}

/** Column group g of four lies at g * 4 * strip as [row][4]; missing columns and rows are zero. */
function pack(packed: Float64Array, fill: RowFiller, from: number, count: number, cols: number, row: Float64Array): void {
  if (count < strip || cols % tile) packed.fill(0);
  for (let r = 0; r < count; r++) {
    fill(from + r, row);
    for (let c = 0; c < cols; c++) packed[((c >> 2) * strip + r) * tile + (c & 3)] = row[c];
  }
}

function addTile(
  out: Float64Array, stride: number, a: Float64Array, i: number, b: Float64Array, j: number, count: number, colsA: number, colsB: number,
): void {
  let c00 = 0, c01 = 0, c02 = 0, c03 = 0;
  let c10 = 0, c11 = 0, c12 = 0, c13 = 0;
  let c20 = 0, c21 = 0, c22 = 0, c23 = 0;
  let c30 = 0, c31 = 0, c32 = 0, c33 = 0;
  let p = i * strip;
  let q = j * strip;
  for (const end = p + count * tile; p < end; p += tile, q += tile) {
    const a0 = a[p], a1 = a[p + 1], a2 = a[p + 2], a3 = a[p + 3];
    const b0 = b[q], b1 = b[q + 1], b2 = b[q + 2], b3 = b[q + 3];
    c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
    c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
    c20 += a2 * b0; c21 += a2 * b1; c22 += a2 * b2; c23 += a2 * b3;
    c30 += a3 * b0; c31 += a3 * b1; c32 += a3 * b2; c33 += a3 * b3;
  }
  const values = [c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33];
  for (let r = 0; r < Math.min(tile, colsA - i); r++) for (let c = 0; c < Math.min(tile, colsB - j); c++) out[(i + r) * stride + j + c] += values[r * tile + c];
}
