// Reductions over one group of neighbouring axes: x is seen as [outer, count, inner].
#pragma once
#include "mathf.h"
#include "norms.h"

static float row_sum(const float *x, int64_t n) {
  float s = 0;
  SIMD_SUM(s) for (int64_t i = 0; i < n; i++) s += x[i];
  return s;
}

// Long rows are summed in blocks, whose sums are added in double precision.
static float long_row_sum(const float *x, int64_t n) {
  if (n <= 4096) return row_sum(x, n);
  double s = 0;
  for (int64_t i = 0; i < n; i += 4096) s += row_sum(x + i, min64(4096, n - i));
  return (float)s;
}

// sum: x, y; outer, count, inner, scale
static void sum_rows(const args *a, int64_t begin, int64_t end) {
  int64_t count = NUM(1);
  for (int64_t r = begin; r < end; r++) FLOATS(1)[r] = long_row_sum(FLOATS(0) + r * count, count) * (float)a->n[3];
}
static void sum_blocks(const args *a, int64_t begin, int64_t end) {
  int64_t count = NUM(1), inner = NUM(2);
  for (int64_t o = begin; o < end; o++) {
    float *y = FLOATS(1) + o * inner, scale = (float)a->n[3];
    for (int64_t i = 0; i < inner; i++) y[i] = 0;
    for (int64_t r = 0; r < count; r++) {
      const float *x = FLOATS(0) + (o * count + r) * inner;
      SIMD for (int64_t i = 0; i < inner; i++) y[i] += x[i];
    }
    for (int64_t i = 0; i < inner; i++) y[i] *= scale;
  }
}
static void sum_columns(const args *a, int64_t begin, int64_t end, float *sums) {
  int64_t inner = NUM(2);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + r * inner;
    SIMD for (int64_t i = 0; i < inner; i++) sums[i] += x[i];
  }
}
static void sum_everything(const args *a, int64_t begin, int64_t end, float *sums) {
  for (int64_t i = begin; i < end; i++) sums[0] += row_sum(FLOATS(0) + i * 4096, min64(4096, NUM(1) - i * 4096));
}
static int k_sum(const args *a) {
  int64_t outer = NUM(0), count = NUM(1), inner = NUM(2);
  float scale = (float)a->n[3];
  if (inner == 1 && outer == 1 && count > 65536) {
    FLOATS(1)[0] = *parallel_sums(a, ceil_div(count, 4096), 1, 4096, sum_everything) * scale;
  } else if (inner == 1) {
    parallel_rows(a, outer, count, 1, sum_rows);
  } else if (outer == 1 && inner <= WORKSPACE_FLOATS) {
    const float *sums = parallel_sums(a, count, inner, (double)inner, sum_columns);
    for (int64_t i = 0; i < inner; i++) FLOATS(1)[i] = sums[i] * scale;
  } else {
    parallel_ranges(a, outer, 1, (double)count * (double)inner, sum_blocks);
  }
  return 0;
}

// sum_of_squares: x, y; count
static void squares_of_everything(const args *a, int64_t begin, int64_t end, float *sums) {
  for (int64_t i = begin; i < end; i++) {
    const float *x = FLOATS(0) + i * 4096;
    int64_t n = min64(4096, NUM(0) - i * 4096);
    float s = 0;
    SIMD_SUM(s) for (int64_t j = 0; j < n; j++) s += x[j] * x[j];
    sums[0] += s;
  }
}
static int k_sum_of_squares(const args *a) {
  FLOATS(1)[0] = *parallel_sums(a, ceil_div(NUM(0), 4096), 1, 4096, squares_of_everything);
  return 0;
}

// max: x, y; outer, count, inner. NaN wins.
static void max_blocks(const args *a, int64_t begin, int64_t end) {
  int64_t count = NUM(1), inner = NUM(2);
  for (int64_t o = begin; o < end; o++) {
    float *y = FLOATS(1) + o * inner;
    for (int64_t i = 0; i < inner; i++) y[i] = -INFINITY_F;
    for (int64_t r = 0; r < count; r++) {
      const float *x = FLOATS(0) + (o * count + r) * inner;
      for (int64_t i = 0; i < inner; i++) y[i] = x[i] > y[i] || x[i] != x[i] ? x[i] : y[i];
    }
  }
}
static int k_max(const args *a) {
  parallel_ranges(a, NUM(0), max64(1, ELEMENT_CHUNK / max64(1, NUM(1) * NUM(2))), (double)NUM(1) * (double)NUM(2), max_blocks);
  return 0;
}

// argmax: x, y (integers); rows, dim: the first of the largest
static void argmax_rows(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + r * d;
    float top = row_max(x, d, -INFINITY_F);
    int64_t i = 0;
    while (i < d - 1 && x[i] != top) i++;
    INTS(1)[r] = (int32_t)(d > 0 && x[i] == top ? i : 0);
  }
}
static int k_argmax(const args *a) {
  parallel_rows(a, NUM(0), NUM(1), 1, argmax_rows);
  return 0;
}

// softmax: x, y; rows, dim
static void softmax_rows(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + r * d;
    float *y = FLOATS(1) + r * d, peak = row_max(x, d, -INFINITY_F), sum = 0;
    SIMD_SUM(sum) for (int64_t i = 0; i < d; i++) {
      float e = exp_f(x[i] - peak);
      y[i] = e;
      sum += e;
    }
    float inverse = 1.f / sum;
    SIMD for (int64_t i = 0; i < d; i++) y[i] *= inverse;
  }
}
static int k_softmax(const args *a) {
  parallel_rows(a, NUM(0), NUM(1), 4, softmax_rows);
  return 0;
}
