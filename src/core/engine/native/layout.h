// Moving data: strided copies (slice, concat, pad, transpose, tile), gather, scatter-add, upsampling.
#pragma once
#include "parallel.h"
#include "pointwise.h"

// copy: x, y; count, rank, sizes[rank], stepsX[rank], stepsY[rank], offsetX, offsetY: y[offsetY + i . stepsY] = x[offsetX + i . stepsX], 4-byte elements
typedef struct { int rank; int64_t size[MAX_RANK], sx[MAX_RANK], sy[MAX_RANK]; } copy_view;
static copy_view copy_arguments(const args *a) {
  copy_view v = {.rank = (int)NUM(1)};
  for (int d = 0; d < v.rank; d++) v.size[d] = NUM(2 + d), v.sx[d] = NUM(2 + v.rank + d), v.sy[d] = NUM(2 + 2 * v.rank + d);
  return v;
}
// Chunks are ranges of the flattened outer axes; the last two are copied in 16 x 16 tiles when neither steps by 1 on both sides.
static void copy_rows(const args *a, int64_t begin, int64_t end) {
  copy_view v = copy_arguments(a);
  int outer = v.rank - 2;
  int64_t rows = v.size[v.rank - 2], columns = v.size[v.rank - 1];
  int64_t rx = v.sx[v.rank - 2], ry = v.sy[v.rank - 2], cx = v.sx[v.rank - 1], cy = v.sy[v.rank - 1];
  const int32_t *base_x = INTS(0) + NUM(2 + 3 * v.rank);
  int32_t *base_y = INTS(1) + NUM(3 + 3 * v.rank);
  int64_t row_blocks = ceil_div(rows, 16);
  for (int64_t chunk = begin; chunk < end; chunk++) {
    int64_t r0 = chunk % row_blocks * 16, r1 = min64(rows, r0 + 16), rest = chunk / row_blocks, px = 0, py = 0;
    for (int d = outer - 1; d >= 0; d--) {
      int64_t at = rest % v.size[d];
      rest /= v.size[d];
      px += at * v.sx[d], py += at * v.sy[d];
    }
    const int32_t *x = base_x + px;
    int32_t *y = base_y + py;
    if (cx == 1 && cy == 1) {
      for (int64_t r = r0; r < r1; r++) {
        const int32_t *from = x + r * rx;
        int32_t *to = y + r * ry;
        SIMD for (int64_t c = 0; c < columns; c++) to[c] = from[c];
      }
    } else {
      for (int64_t c0 = 0; c0 < columns; c0 += 16) {
        int64_t c1 = min64(columns, c0 + 16);
        for (int64_t r = r0; r < r1; r++)
          for (int64_t c = c0; c < c1; c++) y[r * ry + c * cy] = x[r * rx + c * cx];
      }
    }
  }
}
static int k_copy(const args *a) {
  int rank = (int)NUM(1);
  if (rank < 2 || rank > MAX_RANK) return 1;
  if (NUM(0) == 0) return 0;
  int64_t rows = NUM(2 + rank - 2), columns = NUM(2 + rank - 1), chunks = NUM(0) / (rows * columns) * ceil_div(rows, 16);
  int64_t per_chunk = 16 * columns;
  parallel_ranges(a, chunks, max64(1, ELEMENT_CHUNK / per_chunk), (double)per_chunk, copy_rows);
  return 0;
}

// fill: y; count, value, type (0 float, 1 int32, 2 byte)
static void fill_range(const args *a, int64_t begin, int64_t end) {
  double value = a->n[1];
  if (NUM(2) == 0)
    SIMD for (int64_t i = begin; i < end; i++) FLOATS(0)[i] = (float)value;
  else if (NUM(2) == 1)
    SIMD for (int64_t i = begin; i < end; i++) INTS(0)[i] = (int32_t)value;
  else
    SIMD for (int64_t i = begin; i < end; i++) ((uint8_t *)a->p[0])[i] = (uint8_t)value;
}
static int k_fill(const args *a) {
  parallel_ranges(a, NUM(0), ELEMENT_CHUNK, 1, fill_range);
  return 0;
}

// move: x, y; bytes, which do not overlap
static void move_words(const args *a, int64_t begin, int64_t end) {
  const int32_t *x = INTS(0);
  int32_t *y = INTS(1);
  SIMD for (int64_t i = begin; i < end; i++) y[i] = x[i];
}
static int k_move(const args *a) {
  int64_t words = NUM(0) / 4;
  parallel_ranges(a, words, ELEMENT_CHUNK, 1, move_words);
  for (int64_t i = 4 * words; i < NUM(0); i++) ((uint8_t *)a->p[1])[i] = ((const uint8_t *)a->p[0])[i];
  return 0;
}

// gather: table, ids, y; rows, dim, size of the table. Ids are checked by the caller.
static void gather_rows(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + (int64_t)INTS(1)[r] * d;
    float *y = FLOATS(2) + r * d;
    SIMD for (int64_t i = 0; i < d; i++) y[i] = x[i];
  }
}
static int k_gather(const args *a) {
  for (int64_t r = 0; r < NUM(0); r++)
    if (INTS(1)[r] < 0 || INTS(1)[r] >= NUM(2)) return 3;
  parallel_rows(a, NUM(0), NUM(1), 1, gather_rows);
  return 0;
}

// scatter_add: rows, ids, y; rows, dim, size of y. Each chunk owns a range of y, so that sums have one order. Ids outside are dropped.
static void scatter_range(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1);
  float *y = FLOATS(2);
  for (int64_t i = begin * d; i < end * d; i++) y[i] = 0;
  for (int64_t r = 0; r < NUM(0); r++) {
    int64_t id = INTS(1)[r];
    if (id < begin || id >= end) continue;
    const float *x = FLOATS(0) + r * d;
    float *out = y + id * d;
    SIMD for (int64_t i = 0; i < d; i++) out[i] += x[i];
  }
}
static int k_scatter_add(const args *a) {
  parallel_ranges(a, NUM(2), max64(1, ceil_div(NUM(2), 16)), (double)NUM(1) * (1 + (double)NUM(0) / max64(1, NUM(2))), scatter_range);
  return 0;
}

// Nearest neighbour as PyTorch's: output i reads input floor(i * in / out).
// upsample: x, y; images, height, width, channels, outHeight, outWidth
static void upsample_rows(const args *a, int64_t begin, int64_t end) {
  int64_t h = NUM(1), w = NUM(2), c = NUM(3), oh = NUM(4), ow = NUM(5);
  for (int64_t z = begin; z < end; z++)
    for (int64_t x = 0; x < ow; x++) {
      const float *from = FLOATS(0) + ((z / oh * h + z % oh * h / oh) * w + x * w / ow) * c;
      float *to = FLOATS(1) + (z * ow + x) * c;
      SIMD for (int64_t i = 0; i < c; i++) to[i] = from[i];
    }
}
static int k_upsample(const args *a) {
  parallel_rows(a, NUM(0) * NUM(4), NUM(5) * NUM(3), 1, upsample_rows);
  return 0;
}

// upsample_grad: dy, dx; as upsample. Each input pixel sums the outputs that read it.
static void upsample_grad_rows(const args *a, int64_t begin, int64_t end) {
  int64_t h = NUM(1), w = NUM(2), c = NUM(3), oh = NUM(4), ow = NUM(5);
  for (int64_t z = begin; z < end; z++) {
    int64_t image = z / h, y = z % h;
    float *row = FLOATS(1) + z * w * c;
    for (int64_t i = 0; i < w * c; i++) row[i] = 0;
    for (int64_t oy = ceil_div(y * oh, h); oy < oh && oy * h / oh == y; oy++)
      for (int64_t ox = 0; ox < ow; ox++) {
        const float *from = FLOATS(0) + ((image * oh + oy) * ow + ox) * c;
        float *to = row + ox * w / ow * c;
        SIMD for (int64_t i = 0; i < c; i++) to[i] += from[i];
      }
  }
}
static int k_upsample_grad(const args *a) {
  parallel_rows(a, NUM(0) * NUM(1), NUM(2) * NUM(3), 4, upsample_grad_rows);
  return 0;
}
