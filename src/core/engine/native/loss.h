// Cross-entropy from logits, and AdamW.
#pragma once
#include "mathf.h"
#include "parallel.h"

#define IGNORED (-100)

// cross_entropy: logits, labels, loss, lse; rows, vocab
static void cross_entropy_rows(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + r * d;
    int32_t label = INTS(1)[r];
    if (label == IGNORED) {
      FLOATS(2)[r] = 0, FLOATS(3)[r] = 0;
      continue;
    }
    float peak = row_max(x, d, -INFINITY_F), sum = 0;
    SIMD_SUM(sum) for (int64_t i = 0; i < d; i++) sum += exp_f(x[i] - peak);
    float lse = peak + log_f(sum);
    FLOATS(3)[r] = lse;
    FLOATS(2)[r] = lse - x[label];
  }
}
static int labels_are_valid(const args *a) {
  for (int64_t r = 0; r < NUM(0); r++)
    if (INTS(1)[r] != IGNORED && (INTS(1)[r] < 0 || INTS(1)[r] >= NUM(1))) return 0;
  return 1;
}
static int k_cross_entropy(const args *a) {
  if (!labels_are_valid(a)) return 3;
  parallel_rows(a, NUM(0), NUM(1), 3, cross_entropy_rows);
  return 0;
}

// cross_entropy_grad: logits, labels, lse, dy, dlogits; rows, vocab
static void cross_entropy_grad_rows(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + r * d;
    float *dx = FLOATS(4) + r * d, lse = FLOATS(2)[r], dy = FLOATS(3)[r];
    int32_t label = INTS(1)[r];
    if (label == IGNORED) {
      for (int64_t i = 0; i < d; i++) dx[i] = 0;
      continue;
    }
    SIMD for (int64_t i = 0; i < d; i++) dx[i] = exp_f(x[i] - lse) * dy;
    dx[label] -= dy;
  }
}
static int k_cross_entropy_grad(const args *a) {
  if (!labels_are_valid(a)) return 3;
  parallel_rows(a, NUM(0), NUM(1), 3, cross_entropy_grad_rows);
  return 0;
}

// adamw: parameter, gradient, m, v; count, learningRate, beta1, beta2, eps, decay = 1 - learningRate * weightDecay, correction1 = 1 - beta1^t, correction2,
// gradientScale. In place (Loshchilov and Hutter 2019); the rounding follows PyTorch's: denominator sqrt(v) / sqrt(correction2) + eps.
static void adamw_range(const args *a, int64_t begin, int64_t end) {
  float *p = FLOATS(0), *m = FLOATS(2), *v = FLOATS(3);
  const float *g = FLOATS(1);
  float b1 = (float)a->n[2], b2 = (float)a->n[3], c1 = (float)(1 - a->n[2]), c2 = (float)(1 - a->n[3]), eps = (float)a->n[4], decay = (float)a->n[5];
  float step = (float)(a->n[1] / a->n[6]), root = (float)(1 / __builtin_sqrt(a->n[7])), scale = (float)a->n[8];
  SIMD for (int64_t i = begin; i < end; i++) {
    float gi = g[i] * scale;
    float mi = b1 * m[i] + c1 * gi, vi = b2 * v[i] + c2 * gi * gi;
    m[i] = mi;
    v[i] = vi;
    p[i] = p[i] * decay - step * mi / (__builtin_sqrtf(vi) * root + eps);
  }
}
static int k_adamw(const args *a) {
  parallel_ranges(a, NUM(0), ELEMENT_CHUNK, 2, adamw_range);
  return 0;
}
