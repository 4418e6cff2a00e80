// Elementary functions that the compilers vectorise: straight-line code with selects, accurate to a few units in the last place.
#pragma once
#include "platform.h"

static inline int32_t as_int(float x) {
  union { float f; int32_t i; } u = {x};
  return u.i;
}
static inline float as_float(int32_t i) {
  union { int32_t i; float f; } u = {i};
  return u.f;
}
#define INFINITY_F __builtin_inff()

// e^x. Below -87.3 the result is 0 (no denormals), above 88.72 it is infinity.
static inline float exp_f(float x) {
  const float magic = 12582912.f;  // 1.5 * 2^23: adding it rounds to the nearest integer
  float z = x * 1.44269504f + magic;
  float n = z - magic;
  float r = x - n * 0.693145751953125f;
  r -= n * 1.42860677e-6f;
  float p = 1.9875691500e-4f;  // Cephes expf
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  // 2^n in two factors, so that n = 128 does not overflow before the product does.
  int32_t k = (int32_t)((uint32_t)as_int(z) - 0x4B400000u);
  int32_t half = k >> 1;
  float y = p * as_float((int32_t)((uint32_t)(half + 127) << 23)) * as_float((int32_t)((uint32_t)(k - half + 127) << 23));
  y = x > 88.7228394f ? INFINITY_F : y;
  y = x < -87.3365402f ? 0.f : y;
  return x != x ? x : y;
}

#ifdef __wasm__
#define exp_below_88 exp_f  // clang vectorises only the other
#else
// The same for x below 88, where one factor holds 2^n: for exponents of a softmax, which are at most about 0.
static inline float exp_below_88(float x) {
  float z = x * 1.44269504f + 12582912.f, n = z - 12582912.f;
  float r = x - n * 0.693145751953125f;
  r -= n * 1.42860677e-6f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  float y = p * as_float((int32_t)(((uint32_t)as_int(z) - 0x4B400000u + 127u) << 23));
  return x < -87.3365402f ? 0.f : y;
}
#endif

// Natural logarithm; -infinity at 0, NaN below. Denormals are scaled up first.
static inline float log_f(float x) {
  int tiny = x < 1.17549435e-38f;
  float scaled = tiny ? x * 8388608.f : x;
  int32_t bits = as_int(scaled);
  int32_t e = (bits >> 23) - 127 - (tiny ? 23 : 0);
  float m = as_float((bits & 0x7fffff) | 0x3f800000);
  int big = m > 1.41421356f;
  m = big ? m * 0.5f : m;
  e = big ? e + 1 : e;
  float t = m - 1.f, s = t * t;
  float p = 7.0376836292e-2f;  // Cephes logf
  p = p * t - 1.1514610310e-1f;
  p = p * t + 1.1676998740e-1f;
  p = p * t - 1.2420140846e-1f;
  p = p * t + 1.4249322787e-1f;
  p = p * t - 1.6668057665e-1f;
  p = p * t + 2.0000714765e-1f;
  p = p * t - 2.4999993993e-1f;
  p = p * t + 3.3333331174e-1f;
  float y = t * s * p + (float)e * -2.12194440e-4f - 0.5f * s;
  y = t + y + (float)e * 0.693359375f;
  y = x == 0.f ? -INFINITY_F : y;
  y = x < 0.f ? __builtin_nanf("") : y;
  y = x == INFINITY_F ? x : y;
  return x != x ? x : y;
}

// The error function (two polynomials after N. Juffa, https://stackoverflow.com/a/35148199).
static inline float erf_f(float x) {
  float t = __builtin_fabsf(x), s = x * x;
  float r = -1.72853470e-5f * t + 3.83197126e-4f;
  float u = -3.88396438e-3f * t + 2.42546219e-2f;
  r = r * s + u;
  r = r * t - 1.06777877e-1f;
  r = r * t - 6.34846687e-1f;
  r = r * t - 1.28717512e-1f;
  r = r * t - t;
  float large = 1.f - exp_f(t > 4.f ? -20.f : r);
  large = x < 0.f ? -large : large;
  float q = -5.96761703e-4f;
  q = q * s + 4.99119423e-3f;
  q = q * s - 2.67681349e-2f;
  q = q * s + 1.12819925e-1f;
  q = q * s - 3.76125336e-1f;
  q = q * s + 1.28379166e-1f;
  float small = q * x + x;
  float y = t > 0.927734375f ? large : small;
  return x != x ? x : y;
}

static inline float sigmoid_f(float x) { return 1.f / (1.f + exp_f(-x)); }

static inline float tanh_f(float x) {
  float s = x * x;
  float small = ((((-5.70498872745e-3f * s + 2.06390887954e-2f) * s - 5.37397155531e-2f) * s + 1.33314422036e-1f) * s - 3.33332819422e-1f) * s * x + x;  // Cephes tanhf
  float t = __builtin_fabsf(x);
  float large = 1.f - 2.f / (exp_f(2.f * t) + 1.f);
  large = x < 0.f ? -large : large;
  return t > 0.625f ? large : (x != x ? x : small);
}

// Activation kinds, in the order of `activationKinds` in the TypeScript side.
enum { SILU, GELU, QUICK_GELU };

static inline float act_f(int kind, float x) {
  if (kind == SILU) return x * sigmoid_f(x);
  if (kind == QUICK_GELU) return x * sigmoid_f(1.702f * x);
  return 0.5f * x * (1.f + erf_f(x * 0.70710678f));
}

// Derivative of the activation.
static inline float act_grad_f(int kind, float x) {
  if (kind == SILU) {
    float s = sigmoid_f(x);
    return s * (1.f + x * (1.f - s));
  }
  if (kind == QUICK_GELU) {
    float s = sigmoid_f(1.702f * x);
    return s * (1.f + 1.702f * x * (1.f - s));
  }
  return 0.5f * (1.f + erf_f(x * 0.70710678f)) + x * 0.398942280f * exp_f(-0.5f * x * x);
}
