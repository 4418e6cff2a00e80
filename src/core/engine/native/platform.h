// What differs between compilers and targets: vector width, fused multiply-add, the C library's absence in WebAssembly.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define KERNEL_NUMBERS 64
#define KERNEL_POINTERS 16

// VL floats a vector; the matmul's register tile is MR rows of NV vectors. One accumulator too many and the compilers spill. SIMD256 is WebAssembly by pairs of
// its 128-bit vectors, which V8 joins to 256 bits where the processor has them (--experimental-wasm-revectorize).
#if defined(__AVX512F__)
#define VL 16
#define MR 12
#define NV 2
#elif defined(__AVX2__) || defined(SIMD256)
#define VL 8
#define MR 6
#define NV 2
#else
#define VL 4
#define MR 4
#define NV 2
#endif
#define NR (NV * VL)

typedef float vf __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef float v4f __attribute__((vector_size(16), aligned(4), may_alias));

#ifdef __wasm_relaxed_simd__
typedef float wasm_v4f __attribute__((vector_size(16)));
#define MADD4(a, b, c) __builtin_wasm_relaxed_madd_f32x4((wasm_v4f)(a), (wasm_v4f)(b), (wasm_v4f)(c))
#ifdef SIMD256
#define HALF(x, first) __builtin_shufflevector(x, x, first, first + 1, first + 2, first + 3)
static inline __attribute__((always_inline)) vf MADD(vf a, vf b, vf c) {
  return __builtin_shufflevector(MADD4(HALF(a, 0), HALF(b, 0), HALF(c, 0)), MADD4(HALF(a, 4), HALF(b, 4), HALF(c, 4)), 0, 1, 2, 3, 4, 5, 6, 7);
}
#else
#define MADD(a, b, c) ((vf)MADD4(a, b, c))
#endif
#else
#define MADD(a, b, c) ((a) * (b) + (c))
#endif

// Stores a vector. Two halves become one from their stores on, and only where nothing else is read or written between these; the compiler shall not move it there.
static inline __attribute__((always_inline)) void put(float *to, vf v) {
#ifdef SIMD256
  __asm__ volatile("" ::: "memory");
  *(vf *)to = v;
  __asm__ volatile("" ::"r"(to) : "memory");
#else
  *(vf *)to = v;
#endif
}

// Reductions and possibly aliasing loops are vectorised by these, without -ffast-math: NaN and infinity keep their meaning.
#define SIMD _Pragma("omp simd")
#define SIMD_SUM(...) SIMD_PRAGMA(omp simd reduction(+ : __VA_ARGS__))
#define SIMD_PRAGMA(x) _Pragma(#x)

static inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t round_up(int64_t n, int64_t unit) { return ceil_div(n, unit) * unit; }

// The largest of n values, at least `start`. NaN is passed over: the sum of exponentials that follows shows it.
static inline float row_max(const float *x, int64_t n, float start) {
  vf top = start - (vf){0};
  int64_t i = 0;
  for (; i + VL <= n; i += VL) {
    vf v = *(const vf *)(x + i);
    vi larger = v > top;
    top = (vf)(((vi)v & larger) | ((vi)top & ~larger));
  }
  float peak = start;
  for (int l = 0; l < VL; l++) peak = top[l] > peak ? top[l] : peak;
  for (; i < n; i++) peak = x[i] > peak ? x[i] : peak;
  return peak;
}

// The arguments of one kernel call: tensors (null where an optional one is absent) and numbers.
typedef struct {
  void *p[KERNEL_POINTERS];
  double n[KERNEL_NUMBERS];
} args;
#define FLOATS(i) ((float *)a->p[i])
#define INTS(i) ((int32_t *)a->p[i])
#define NUM(i) ((int64_t)a->n[i])
