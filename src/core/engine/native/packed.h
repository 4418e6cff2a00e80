// Products with frozen weights that stay in 16, 8 or 4 bits and become floats on the way into registers. 8 and 4 bits have one scale for each
// group of 32 neighbours in a row: 8 bits hold value / scale; 4 bits hold value / scale + 8, element i of a group in the low half of byte i, element
// i + 16 in the high half (as llama.cpp's Q4_0).
#pragma once
#include "gemm.h"
#include "mathf.h"

enum { BF16, F16, INT8, INT4 };
#define GROUP 32

typedef struct {
  int kind;
  const uint8_t *data;
  const float *scales;
  int64_t rows, columns;
} packed_matrix;

static inline float from_f16(uint16_t h) {
  // Shifting the exponent by a product makes denormals right too.
  float magnitude = as_float((int32_t)(h & 0x7fff) << 13) * 5.192296858534828e33f;
  magnitude = (h & 0x7c00) == 0x7c00 ? as_float(0x7f800000 | (int32_t)(h & 0x3ff) << 13) : magnitude;
  return h & 0x8000 ? -magnitude : magnitude;
}

// Values [from, from + count) of a row.
static inline void unpack(const packed_matrix *w, int64_t row, int64_t from, int count, float *restrict out) {
  if (w->kind == BF16) {
    const uint16_t *p = (const uint16_t *)w->data + row * w->columns + from;
    SIMD for (int i = 0; i < count; i++) out[i] = as_float((int32_t)((uint32_t)p[i] << 16));
  } else if (w->kind == F16) {
    const uint16_t *p = (const uint16_t *)w->data + row * w->columns + from;
    SIMD for (int i = 0; i < count; i++) out[i] = from_f16(p[i]);
  } else {
    const float *scales = w->scales + row * (w->columns / GROUP);
    for (int done = 0; done < count;) {
      int64_t at = from + done, group = at / GROUP, inside = at % GROUP;
      int n = (int)min64(count - done, GROUP - inside);
      float scale = scales[group];
      if (w->kind == INT8) {
        const int8_t *p = (const int8_t *)w->data + row * w->columns + at;
        SIMD for (int i = 0; i < n; i++) out[done + i] = (float)p[i] * scale;
      } else {
        const uint8_t *p = w->data + (row * w->columns + group * GROUP) / 2;
        float whole[GROUP];
        SIMD for (int i = 0; i < 16; i++) {
          whole[i] = (float)((int)(p[i] & 15) - 8) * scale;
          whole[i + 16] = (float)((int)(p[i] >> 4) - 8) * scale;
        }
        for (int i = 0; i < n; i++) out[done + i] = whole[inside + i];
      }
      done += n;
    }
  }
}

// One row against one x, group by group.
static inline float packed_dot(const packed_matrix *w, int64_t row, const float *x) {
  vf sum[GROUP / VL];
  for (int v = 0; v < GROUP / VL; v++) sum[v] = (vf){0};
  int64_t k = 0;
  float values[GROUP];
  if (w->kind == BF16 || w->kind == F16) {
    for (; k + GROUP <= w->columns; k += GROUP) {
      unpack(w, row, k, GROUP, values);
      for (int v = 0; v < GROUP / VL; v++) sum[v] = MADD(((const vf *)values)[v], ((const vf *)(x + k))[v], sum[v]);
    }
  } else {
    const float *scales = w->scales + row * (w->columns / GROUP);
    for (; k + GROUP <= w->columns; k += GROUP) {
      if (w->kind == INT8) {
        const int8_t *p = (const int8_t *)w->data + row * w->columns + k;
        SIMD for (int i = 0; i < GROUP; i++) values[i] = (float)p[i];
      } else {
        const uint8_t *p = w->data + (row * w->columns + k) / 2;
        SIMD for (int i = 0; i < 16; i++) {
          values[i] = (float)((int)(p[i] & 15) - 8);
          values[i + 16] = (float)((int)(p[i] >> 4) - 8);
        }
      }
      vf scale = *scales++ - (vf){0};
      for (int v = 0; v < GROUP / VL; v++) sum[v] = MADD(((const vf *)values)[v] * scale, ((const vf *)(x + k))[v], sum[v]);
    }
  }
  for (int v = 1; v < GROUP / VL; v++) sum[0] += sum[v];
  float total = 0;
  for (int l = 0; l < VL; l++) total += sum[0][l];
  if (k < w->columns) {
    int rest = (int)(w->columns - k);
    unpack(w, row, k, rest, values);
    for (int i = 0; i < rest; i++) total += values[i] * x[k + i];
  }
  return total;
}

// B' of x B' for the product: columns are rows of the packed matrix, k runs along them; or, transposed, the other way round.
static void pack_packed(const gemm *g, int64_t first, int count, int64_t k0, int kc, float *out) {
  const packed_matrix *w = g->context;
  if (g->tb) {
    float block[NR * 64];
    const float *rows[NR];
    for (int q = 0; q < kc; q += 64) {
      int length = (int)min64(64, kc - q);
      for (int i = 0; i < count; i++) {
        unpack(w, first + i, k0 + q, length, block + i * 64);
        rows[i] = block + i * 64;
      }
      pack_transposed(rows, count, NR, length, out + (int64_t)q * NR);
    }
  } else {
    for (int q = 0; q < kc; q++) {
      unpack(w, k0 + q, first, count, out + (int64_t)q * NR);
      for (int i = count; i < NR; i++) out[(int64_t)q * NR + i] = 0;
    }
  }
}

static void packed_gemv_chunk(void *context, int64_t chunk, int thread) {
  const gemm *g = context;
  const packed_matrix *w = g->context;
  (void)thread;
  for (int64_t j = chunk * GEMV_COLUMNS; j < min64(g->n, (chunk + 1) * GEMV_COLUMNS); j++)
    for (int64_t i = 0; i < g->m; i++) g->c[i * g->ldc + j] = packed_dot(w, j, g->a + i * g->lda) + (g->bias ? g->bias[j] : 0.f);
}

// packed_product: x, data, scales?, y, bias?; m, rows, columns, kind, transposed: y = x W' + bias with x [m, columns], or x W with x [m, rows]
static int k_packed_product(const args *a) {
  packed_matrix w = {.kind = (int)NUM(3), .data = a->p[1], .scales = FLOATS(2), .rows = NUM(1), .columns = NUM(2)};
  int straight = NUM(4) == 0;
  int64_t n = straight ? w.rows : w.columns, k = straight ? w.columns : w.rows;
  gemm g = {.a = FLOATS(0), .c = FLOATS(3), .bias = FLOATS(4), .m = NUM(0), .n = n, .k = k, .lda = k, .ldc = n, .tb = straight, .pack_b = pack_packed, .context = &w};
  if (straight && g.m <= GEMV_ROWS) parallel(ceil_div(n, GEMV_COLUMNS), (double)g.m * (double)n * (double)k / 4, packed_gemv_chunk, &g);
  else gemm_parallel(&g);
  return 0;
}

// packed_rows: data, scales?, ids, y; count, rows, columns, kind: rows of the matrix as floats
static void packed_rows_range(const args *a, int64_t begin, int64_t end) {
  packed_matrix w = {.kind = (int)NUM(3), .data = a->p[0], .scales = FLOATS(1), .rows = NUM(1), .columns = NUM(2)};
  for (int64_t r = begin; r < end; r++) unpack(&w, INTS(2)[r], 0, (int)w.columns, FLOATS(3) + r * w.columns);
}
static int k_packed_rows(const args *a) {
  for (int64_t r = 0; r < NUM(0); r++)
    if (INTS(2)[r] < 0 || INTS(2)[r] >= NUM(1)) return 3;
  parallel_rows(a, NUM(0), NUM(2), 2, packed_rows_range);
  return 0;
}

// pack: x, data, scales; rows, columns, kind (8 or 4 bits). Rounds to nearest; 4 bits take the scale from the value of largest magnitude, so that it is exact.
static void pack_range(const args *a, int64_t begin, int64_t end) {
  int64_t columns = NUM(1);
  int kind = (int)NUM(2);
  for (int64_t at = begin * columns; at < end * columns; at += GROUP) {
    const float *x = FLOATS(0) + at;
    float top = 0, bottom = 0;
    for (int i = 0; i < GROUP; i++) top = x[i] > top ? x[i] : top, bottom = x[i] < bottom ? x[i] : bottom;
    float extreme = top > -bottom ? top : bottom;
    float scale = kind == INT8 ? __builtin_fabsf(extreme) / 127.f : extreme / -8.f;
    float inverse = scale != 0.f ? 1.f / scale : 0.f;
    FLOATS(2)[at / GROUP] = scale;
    int q[GROUP];
    for (int i = 0; i < GROUP; i++) {
      float z = __builtin_floorf(x[i] * inverse + 0.5f) + (kind == INT8 ? 0.f : 8.f);
      float low = kind == INT8 ? -127.f : 0.f, high = kind == INT8 ? 127.f : 15.f;
      q[i] = (int)(z < low ? low : z > high ? high : z == z ? z : 0.f);
    }
    if (kind == INT8) for (int i = 0; i < GROUP; i++) ((int8_t *)a->p[1])[at + i] = (int8_t)q[i];
    else for (int i = 0; i < 16; i++) ((uint8_t *)a->p[1])[at / 2 + i] = (uint8_t)(q[i] | q[i + 16] << 4);
  }
}
static int k_pack(const args *a) {
  if (NUM(1) % GROUP) return 1;
  parallel_rows(a, NUM(0), NUM(1), 4, pack_range);
  return 0;
}
