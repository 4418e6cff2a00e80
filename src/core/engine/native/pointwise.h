// Element-wise kernels: unary maps, binary operations with broadcasting, activations and gated units.
#pragma once
#include "mathf.h"
#include "parallel.h"

#define MAX_RANK 8

// Unary operations, in the order of `unaryOps` in the TypeScript side.
#define UNARY_OPS(X)                                                                                                                            \
  X(exp, exp_f(x)) X(log, log_f(x)) X(sqrt, __builtin_sqrtf(x)) X(rsqrt, 1.f / __builtin_sqrtf(x)) X(square, x *x) X(neg, -x) X(abs, __builtin_fabsf(x)) \
  X(sigmoid, sigmoid_f(x)) X(tanh, tanh_f(x)) X(relu, x != x ? x : x > 0.f ? x : 0.f) X(reciprocal, 1.f / x) X(erf, erf_f(x))            \
  X(clip, x != x ? x : x < low ? low : x > high ? high : x) X(scale, x *low + high) X(step, x > 0.f ? 1.f : x != x ? x : low)
#define UNARY_FUNCTION(name, expression)                                                            \
  static void unary_##name(const float *in, float *out, int64_t n, float low, float high) {        \
    (void)low, (void)high;                                                                          \
    SIMD for (int64_t i = 0; i < n; i++) {                                                          \
      float x = in[i];                                                                              \
      out[i] = expression;                                                                          \
    }                                                                                               \
  }
UNARY_OPS(UNARY_FUNCTION)
#define UNARY_ENTRY(name, expression) unary_##name,
static void (*const unary_functions[])(const float *, float *, int64_t, float, float) = {UNARY_OPS(UNARY_ENTRY)};

// unary: x, y; count, op, low, high
static void unary_range(const args *a, int64_t begin, int64_t end) {
  unary_functions[NUM(1)](FLOATS(0) + begin, FLOATS(1) + begin, end - begin, (float)a->n[2], (float)a->n[3]);
}
static int k_unary(const args *a) {
  parallel_ranges(a, NUM(0), ELEMENT_CHUNK, 2, unary_range);
  return 0;
}

// Binary operations, in the order of `binaryOps` in the TypeScript side. NaN wins in maximum and minimum.
#define BINARY_OPS(X)                                                                                                       \
  X(add, x + y) X(sub, x - y) X(mul, x *y) X(div, x / y) X(squared_difference, (x - y) * (x - y))                          \
  X(maximum, x != x ? x : y != y ? y : x > y ? x : y) X(minimum, x != x ? x : y != y ? y : x < y ? x : y)
// A row of `n` with steps 0 or 1 on either side.
#define BINARY_LOOP(expression, xi, yi) SIMD for (int64_t i = 0; i < n; i++) { float x = xi, y = yi; out[i] = expression; }
#define BINARY_FUNCTION(name, expression)                                                                       \
  static void binary_##name(const float *p, int64_t sp, const float *q, int64_t sq, float *out, int64_t n) {    \
    if (sp && sq) { BINARY_LOOP(expression, p[i], q[i]) }                                                       \
    else if (sp) { float c = *q; BINARY_LOOP(expression, p[i], c) }                                             \
    else if (sq) { float c = *p; BINARY_LOOP(expression, c, q[i]) }                                             \
    else { float c = *p, d = *q; BINARY_LOOP(expression, c, d) }                                                \
  }
BINARY_OPS(BINARY_FUNCTION)
#define BINARY_ENTRY(name, expression) binary_##name,
static void (*const binary_functions[])(const float *, int64_t, const float *, int64_t, float *, int64_t) = {BINARY_OPS(BINARY_ENTRY)};

// binary: x, y, out; count, op, rank, sizes[rank], stepsX[rank], stepsY[rank]. Steps are in elements; the last axis steps by 0 or 1.
static void binary_range(const args *a, int64_t begin, int64_t end) {
  int op = (int)NUM(1), rank = (int)NUM(2);
  int64_t size[MAX_RANK], sx[MAX_RANK], sy[MAX_RANK];
  for (int d = 0; d < rank; d++) size[d] = NUM(3 + d), sx[d] = NUM(3 + rank + d), sy[d] = NUM(3 + 2 * rank + d);
  int64_t last = size[rank - 1];
  for (int64_t i = begin; i < end;) {
    int64_t rest = i / last, column = i % last, px = column * sx[rank - 1], py = column * sy[rank - 1];
    for (int d = rank - 2; d >= 0; d--) {
      int64_t at = rest % size[d];
      rest /= size[d];
      px += at * sx[d], py += at * sy[d];
    }
    int64_t n = min64(last - column, end - i);
    binary_functions[op](FLOATS(0) + px, sx[rank - 1], FLOATS(1) + py, sy[rank - 1], FLOATS(2) + i, n);
    i += n;
  }
}
static int k_binary(const args *a) {
  if (NUM(2) > MAX_RANK || NUM(2) < 1) return 1;
  parallel_ranges(a, NUM(0), ELEMENT_CHUNK, 1, binary_range);
  return 0;
}

// activation: x, y; count, kind
// Repeats a loop for each activation, so that the choice K is made outside of it.
#define KINDS(...)                                        \
  do {                                                    \
    if (kind == SILU) { enum { K = SILU }; __VA_ARGS__ }  \
    else if (kind == GELU) { enum { K = GELU }; __VA_ARGS__ } \
    else { enum { K = QUICK_GELU }; __VA_ARGS__ }         \
  } while (0)
static void activation_range(const args *a, int64_t begin, int64_t end) {
  const float *x = FLOATS(0);
  float *y = FLOATS(1);
  int kind = (int)NUM(1);
  KINDS(SIMD for (int64_t i = begin; i < end; i++) y[i] = act_f(K, x[i]););
}
static int k_activation(const args *a) {
  parallel_ranges(a, NUM(0), ELEMENT_CHUNK, 4, activation_range);
  return 0;
}

// activation_grad: x, dy, dx; count, kind
static void activation_grad_range(const args *a, int64_t begin, int64_t end) {
  const float *x = FLOATS(0) + begin, *dy = FLOATS(1) + begin;
  float *dx = FLOATS(2) + begin;
  int64_t n = end - begin;
  int kind = (int)NUM(1);
  KINDS(SIMD for (int64_t i = 0; i < n; i++) {
    float g = act_grad_f(K, x[i]);
    dx[i] = dy[i] * g;
  });
}
static int k_activation_grad(const args *a) {
  parallel_ranges(a, NUM(0), ELEMENT_CHUNK, 6, activation_grad_range);
  return 0;
}

// gated: gate, value, y; rows, dim, step of gate and value rows, kind, gateOffset, valueOffset: y = kind(gate) * value
static void gated_rows(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1), ld = NUM(2);
  int kind = (int)NUM(3);
  for (int64_t r = begin; r < end; r++) {
    const float *gate = FLOATS(0) + NUM(4) + r * ld, *value = FLOATS(1) + NUM(5) + r * ld;
    float *y = FLOATS(2) + r * d;
    KINDS(SIMD for (int64_t i = 0; i < d; i++) y[i] = act_f(K, gate[i]) * value[i];);
  }
}
static int k_gated(const args *a) {
  parallel_rows(a, NUM(0), NUM(1), 4, gated_rows);
  return 0;
}

// gated_grad: gate, value, dy, dgate, dvalue; as gated
static void gated_grad_rows(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1), ld = NUM(2);
  int kind = (int)NUM(3);
  for (int64_t r = begin; r < end; r++) {
    const float *gate = FLOATS(0) + NUM(4) + r * ld, *value = FLOATS(1) + NUM(5) + r * ld, *dy = FLOATS(2) + r * d;
    float *dgate = FLOATS(3) + NUM(4) + r * ld, *dvalue = FLOATS(4) + NUM(5) + r * ld;
    KINDS(SIMD for (int64_t i = 0; i < d; i++) {
      float g = gate[i], v = value[i], up = dy[i];
      dgate[i] = up * v * act_grad_f(K, g);
      dvalue[i] = up * act_f(K, g);
    });
  }
}
static int k_gated_grad(const args *a) {
  parallel_rows(a, NUM(0), NUM(1), 8, gated_grad_rows);
  return 0;
}

// select: condition (bytes), x, y, out; count
static void select_range(const args *a, int64_t begin, int64_t end) {
  const uint8_t *condition = a->p[0];
  const int32_t *x = INTS(1), *y = INTS(2);
  int32_t *out = INTS(3);
  for (int64_t i = begin; i < end; i++) out[i] = condition[i] ? x[i] : y[i];
}
static int k_select(const args *a) {
  parallel_ranges(a, NUM(0), ELEMENT_CHUNK, 1, select_range);
  return 0;
}
