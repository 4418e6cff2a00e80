// Single-precision matrix product C = op(A) op(B) (+ C, or + bias and addend), row-major, after Goto and van de Geijn 2008: operands are packed into panels
// that the register tile reads in order. Convolutions use the same core with packing that reads from images.
#pragma once
#include "tiles.h"

#define KC 256
#define MC (MR * (144 / MR))
#define NC 512

typedef struct gemm gemm;
// Packs `count` rows of A (up to MC) or columns of B (up to NR) from `first`, over k in [k0, k0 + kc), as panels out[q * width + i] of width MR or NR,
// the last one filled up with zeros.
typedef void (*pack_fn)(const gemm *g, int64_t first, int count, int64_t k0, int kc, float *out);

struct gemm {
  const float *a, *b, *bias, *addend;  // addend: laid out as c
  float *c;
  int64_t m, n, k, lda, ldb, ldc;
  int ta, tb, accumulate;
  pack_fn pack_a, pack_b;                          // null: dense
  void (*rows)(const gemm *g, int64_t first, int count, float **out);  // null: c + i * ldc
  const void *context;
};

// Rows contiguous along k are transposed in 4 x 4 blocks.
static inline __attribute__((always_inline)) void pack_transposed(const float *const *rows, int count, int width, int kc, float *restrict out) {
  int i = 0;
  for (; i + 4 <= count; i += 4) {
    const float *r0 = rows[i], *r1 = rows[i + 1], *r2 = rows[i + 2], *r3 = rows[i + 3];
    float *o = out + i;
    int q = 0;
    for (; q + 4 <= kc; q += 4, o += 4 * width) {
      v4f a = *(const v4f *)(r0 + q), b = *(const v4f *)(r1 + q), c = *(const v4f *)(r2 + q), d = *(const v4f *)(r3 + q);
      v4f ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      v4f cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      *(v4f *)o = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
      *(v4f *)(o + width) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
      *(v4f *)(o + 2 * width) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
      *(v4f *)(o + 3 * width) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
    }
    for (; q < kc; q++, o += width) o[0] = r0[q], o[1] = r1[q], o[2] = r2[q], o[3] = r3[q];
  }
  for (; i < count; i++)
    for (int q = 0; q < kc; q++) out[q * width + i] = rows[i][q];
  for (; i < width; i++)
    for (int q = 0; q < kc; q++) out[q * width + i] = 0;
}

// Rows of `width` neighbours are copied.
static inline __attribute__((always_inline)) void pack_copied(const float *src, int64_t ld, int count, int width, int kc, float *restrict out) {
  if (count == width) {
    for (int q = 0; q < kc; q++, src += ld, out += width)
      for (int i = 0; i < width; i++) out[i] = src[i];
  } else {
    for (int q = 0; q < kc; q++, src += ld, out += width) {
      int i = 0;
      for (; i < count; i++) out[i] = src[i];
      for (; i < width; i++) out[i] = 0;
    }
  }
}

static inline __attribute__((always_inline)) void pack_dense(const float *base, int64_t ld, int along_k, int64_t first, int count, int width, int64_t k0, int kc, float *out) {
  if (along_k) {
    const float *rows[NR > MR ? NR : MR];
    for (int i = 0; i < count; i++) rows[i] = base + (first + i) * ld + k0;
    pack_transposed(rows, count, width, kc, out);
  } else {
    pack_copied(base + k0 * ld + first, ld, count, width, kc, out);
  }
}

// Rows of k are read this many at a time for all panels of a block: lines and pages are then still near when the next panel wants its part of them.
#define PACK_ROWS 16

// Columns [0, count) of rows of k, as panels of `width`, `panel` floats apart.
static inline __attribute__((always_inline)) void pack_copied_panels(const float *src, int64_t ld, int count, int width, int kc, float *out, int64_t panel) {
  for (int q = 0; q < kc; q += PACK_ROWS)
    for (int i = 0; i < count; i += width)
      pack_copied(src + q * ld + i, ld, (int)min64(width, count - i), width, (int)min64(PACK_ROWS, kc - q), out + i / width * panel + (int64_t)q * width);
}

static void pack_a_block(const gemm *g, int64_t first, int count, int64_t k0, int kc, float *out) {
  if (g->pack_a) g->pack_a(g, first, count, k0, kc, out);
  else if (g->ta) pack_copied_panels(g->a + k0 * g->lda + first, g->lda, count, MR, kc, out, (int64_t)MR * kc);
  else
    for (int i = 0; i < count; i += MR) pack_dense(g->a, g->lda, 1, first + i, (int)min64(MR, count - i), MR, k0, kc, out + (int64_t)i * kc);
}

static void pack_b_panel(const gemm *g, int64_t first, int count, int64_t k0, int kc, float *out) {
  if (g->pack_b) g->pack_b(g, first, count, k0, kc, out);
  else pack_dense(g->b, g->ldb, g->tb, first, count, NR, k0, kc, out);
}

// What stands at the same place of another matrix that is laid out as c.
static inline const float *addend_at(const gemm *g, const float *c) { return g->addend ? g->addend + (c - g->c) : 0; }

// One MR x NR tile over k, written to `rows[i] + column`: stored, added to what is there, or added to bias and addend.
static void micro_tile(const gemm *g, int k, const float *restrict a, const float *restrict b, float *const *rows, int64_t column, int mr, int nr, int add) {
  const float *bias = g->bias;
  vf c[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) c[i][v] = (vf){0};
  for (int q = 0; q < k; q++) {
    vf bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) bv[v] = ((const vf *)b)[v];
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      vf av = a[i] - (vf){0};
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) c[i][v] = MADD(av, bv[v], c[i][v]);
    }
    a += MR;
    b += NR;
  }
  if (mr == MR && nr == NR) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      const float *from = add ? rows[i] : addend_at(g, rows[i]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) {
        vf sum = c[i][v];
        if (!add && bias) sum += ((const vf *)(bias + column))[v];
        if (from) sum += ((const vf *)(from + column))[v];
        put(rows[i] + column + v * VL, sum);
      }
    }
  } else {
    float t[MR * NR];
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) put(t + i * NR + v * VL, c[i][v]);
    for (int i = 0; i < mr; i++) {
      const float *from = add ? rows[i] : addend_at(g, rows[i]);
      for (int j = 0; j < nr; j++) {
        float sum = t[i * NR + j];
        if (!add && bias) sum += bias[column + j];
        if (from) sum += from[column + j];
        rows[i][column + j] = sum;
      }
    }
  }
}

// Operands that are read where they lie, without packing, in scratch memory of the caller's making.
// c[i][0 .. nv) = (add ? c : 0) + sum over k of a[i * row_a + k * step_a] * b[k * step_b]; mr, nv and row_a are known to the compiler.
static inline __attribute__((always_inline)) void open_tile(int mr, int nv, int64_t k, const float *a, int64_t row_a, int64_t step_a, const float *b, int64_t step_b,
                                                            float *c, int64_t row_c, int add) {
  vf sum[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) sum[i][v] = (vf){0};
  for (int64_t q = 0; q < k; q++, a += step_a, b += step_b) {
    vf bv[NV];
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) bv[v] = ((const vf *)b)[v];
#pragma GCC unroll 16
    for (int i = 0; i < mr; i++) {
      vf av = a[i * row_a] - (vf){0};
#pragma GCC unroll 4
      for (int v = 0; v < nv; v++) sum[i][v] = MADD(av, bv[v], sum[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++) {
      float *to = c + i * row_c + v * VL;
      vf all = sum[i][v];
      if (add) all += *(const vf *)to;
      put(to, all);
    }
}

// The same for any number of rows.
static inline __attribute__((always_inline)) void open_product(int nv, int64_t rows, int64_t k, const float *a, int64_t row_a, int64_t step_a, const float *b, int64_t step_b,
                                                               float *c, int64_t row_c, int add) {
  int64_t i = 0;
  for (; i + MR <= rows; i += MR) open_tile(MR, nv, k, a + i * row_a, row_a, step_a, b, step_b, c + i * row_c, row_c, add);
  if (MR > 8)
    for (; i + 8 <= rows; i += 8) open_tile(MR > 8 ? 8 : 1, nv, k, a + i * row_a, row_a, step_a, b, step_b, c + i * row_c, row_c, add);
  if (MR > 4)
    for (; i + 4 <= rows; i += 4) open_tile(MR > 4 ? 4 : 1, nv, k, a + i * row_a, row_a, step_a, b, step_b, c + i * row_c, row_c, add);
  for (; i < rows; i++) open_tile(1, nv, k, a + i * row_a, row_a, step_a, b, step_b, c + i * row_c, row_c, add);
}

// Rows [i, i + mc) times packed columns [j, j + nc) for one block of k.
static void macro_block(const gemm *g, int64_t i, int mc, int64_t j, int nc, int kc, int first_k, const float *pa, const float *pb, int64_t pb_panel) {
  float *rows[MC];
  if (g->rows) g->rows(g, i, mc, rows);
  else for (int r = 0; r < mc; r++) rows[r] = g->c + (i + r) * g->ldc;
  int add = !first_k || g->accumulate;
  for (int jj = 0; jj < nc; jj += NR)
    for (int ii = 0; ii < mc; ii += MR)
      micro_tile(g, kc, pa + (int64_t)ii * kc, pb + jj / NR * pb_panel, rows + ii, j + jj, (int)min64(MR, mc - ii), (int)min64(NR, nc - jj), add);
}

// What the product is added to, at row `c` and column j.
static inline float start_at(const gemm *g, const float *c, int64_t j) {
  if (g->accumulate) return c[j];
  float start = g->bias ? g->bias[j] : 0.f;
  return g->addend ? start + addend_at(g, c)[j] : start;
}

static void clear_product(const gemm *g, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  for (int64_t i = m0; i < m1; i++) {
    float *row = g->c + i * g->ldc;
    if (g->rows) g->rows(g, i, 1, &row);
    for (int64_t j = n0; j < n1; j++) row[j] = start_at(g, row, j);
  }
}

#define PACK_A_FLOATS (MC * KC)
#define PACK_B_FLOATS (KC * NC)

// The product's rows [m0, m1) and columns [n0, n1) by one thread, over [k_first, k_last); `buffer` holds PACK_A_FLOATS + PACK_B_FLOATS.
static void gemm_serial(const gemm *g, int64_t m0, int64_t m1, int64_t n0, int64_t n1, int64_t k_first, int64_t k_last, float *buffer) {
  float *pa = buffer, *pb = buffer + PACK_A_FLOATS;
  if (g->k == 0) clear_product(g, m0, m1, n0, n1);
  for (int64_t j = n0; j < n1; j += NC) {
    int nc = (int)min64(NC, n1 - j);
    for (int64_t k0 = k_first; k0 < k_last; k0 += KC) {
      int kc = (int)min64(KC, k_last - k0);
      for (int jj = 0; jj < nc; jj += NR) pack_b_panel(g, j + jj, (int)min64(NR, nc - jj), k0, kc, pb + (int64_t)jj * kc);
      for (int64_t i = m0; i < m1; i += MC) {
        int mc = (int)min64(MC, m1 - i);
        pack_a_block(g, i, mc, k0, kc, pa);
        macro_block(g, i, mc, j, nc, kc, k0 == 0, pa, pb, (int64_t)NR * kc);
      }
    }
  }
}

// Few rows (decoding): B is read once, nothing is packed.
#define GEMV_ROWS 6
#define GEMV_COLUMNS (4 * VL > 32 ? 4 * VL : 32)

static inline float dot(const float *restrict x, const float *restrict y, int64_t n) {
  vf s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
  int64_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL) {
    s0 = MADD(*(const vf *)(x + i), *(const vf *)(y + i), s0);
    s1 = MADD(*(const vf *)(x + i + VL), *(const vf *)(y + i + VL), s1);
    s2 = MADD(*(const vf *)(x + i + 2 * VL), *(const vf *)(y + i + 2 * VL), s2);
    s3 = MADD(*(const vf *)(x + i + 3 * VL), *(const vf *)(y + i + 3 * VL), s3);
  }
  for (; i + VL <= n; i += VL) s0 = MADD(*(const vf *)(x + i), *(const vf *)(y + i), s0);
  vf s = (s0 + s1) + (s2 + s3);
  float sum = 0;
  for (int l = 0; l < VL; l++) sum += s[l];
  for (; i < n; i++) sum += x[i] * y[i];
  return sum;
}

static void gemv_columns(const gemm *g, int64_t n0, int64_t n1) {
  if (g->tb) {
    for (int64_t j = n0; j < n1; j++)
      for (int64_t i = 0; i < g->m; i++) {
        float *c = g->c + i * g->ldc;
        c[j] = dot(g->a + i * g->lda, g->b + j * g->ldb, g->k) + start_at(g, c, j);
      }
    return;
  }
  for (int64_t i = 0; i < g->m; i++) {
    const float *x = g->a + i * g->lda;
    float *c = g->c + i * g->ldc;
    const float *from = g->accumulate ? c : addend_at(g, c);
    int64_t j = n0;
    for (; j + 4 * VL <= n1; j += 4 * VL) {
      vf s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
      for (int64_t q = 0; q < g->k; q++) {
        const vf *b = (const vf *)(g->b + q * g->ldb + j);
        vf xv = x[q] - (vf){0};
        s0 = MADD(xv, b[0], s0);
        s1 = MADD(xv, b[1], s1);
        s2 = MADD(xv, b[2], s2);
        s3 = MADD(xv, b[3], s3);
      }
      vf s[4] = {s0, s1, s2, s3};
      for (int v = 0; v < 4; v++) {
        vf sum = s[v];
        if (!g->accumulate && g->bias) sum += ((const vf *)(g->bias + j))[v];
        if (from) sum += ((const vf *)(from + j))[v];
        ((vf *)(c + j))[v] = sum;
      }
    }
    for (; j < n1; j++) {
      float s = 0;
      for (int64_t q = 0; q < g->k; q++) s += x[q] * g->b[q * g->ldb + j];
      c[j] = s + start_at(g, c, j);
    }
  }
}

// Many threads on one product: B is packed once into the workspace, then blocks of rows and columns are shared out.
typedef struct {
  const gemm *g;
  float *packed;
  int64_t j, nc, k0, ks;      // columns and the slab of k that are packed
  int64_t rows, columns, row_blocks;
  int64_t batch_a, batch_b, batch_c;
  int infinite;               // whether the packed part of B holds values that have no parts (tiles.h)
} gemm_job;

// A few panels of one block of k.
#define PACK_PANELS 4
static void gemm_pack_chunk(void *context, int64_t chunk, int thread) {
  const gemm_job *job = context;
  const gemm *g = job->g;
  (void)thread;
  int64_t groups = ceil_div(job->nc, PACK_PANELS * NR), first = chunk % groups * PACK_PANELS * NR, k0 = chunk / groups * KC;
  int kc = (int)min64(KC, job->ks - k0), count = (int)min64(PACK_PANELS * NR, job->nc - first);
  float *out = job->packed + first * job->ks + k0 * NR;
  if (!g->pack_b && !g->tb) {
    pack_copied_panels(g->b + (job->k0 + k0) * g->ldb + job->j + first, g->ldb, count, NR, kc, out, job->ks * NR);
    return;
  }
  for (int i = 0; i < count; i += NR) pack_b_panel(g, job->j + first + i, (int)min64(NR, count - i), job->k0 + k0, kc, out + i * job->ks);
}

static void gemm_block_chunk(void *context, int64_t chunk, int thread) {
  const gemm_job *job = context;
  const gemm *g = job->g;
  float *pa = scratch(thread);
  int64_t i0 = chunk % job->row_blocks * job->rows, i1 = min64(g->m, i0 + job->rows);
  int64_t j0 = chunk / job->row_blocks * job->columns, j1 = min64(job->nc, j0 + job->columns);
  for (int64_t k0 = 0; k0 < job->ks; k0 += KC) {
    int kc = (int)min64(KC, job->ks - k0);
    for (int64_t i = i0; i < i1; i += MC) {
      int mc = (int)min64(MC, i1 - i);
      pack_a_block(g, i, mc, job->k0 + k0, kc, pa);
      macro_block(g, i, mc, job->j + j0, (int)(j1 - j0), kc, job->k0 + k0 == 0, pa, job->packed + j0 * job->ks + k0 * NR, NR * job->ks);
    }
  }
}

#ifdef TILES
#define TILE_K KC               // of k at a time: a strip of each operand then lies in a core's first two caches
#define TILE_ROWS (8 * EDGE)    // of A that are packed at a time

// Not where more than half of the tiles would be filling.
static int tiles_suit(const gemm *g) {
  return tiles_on && !g->pack_a && !g->rows && round_up(g->m, 16) * round_up(g->n, 16) * round_up(g->k, STEP) <= 2 * g->m * g->n * g->k;
}

// A few strips of B over one block of k. Strips of a slab lie one after another, each over all of the slab's k.
static void tiles_pack_chunk(void *context, int64_t chunk, int thread) {
  gemm_job *job = context;
  const gemm *g = job->g;
  int64_t width = g->pack_b ? EDGE : PACK_PANELS * EDGE, groups = ceil_div(job->nc, width), first = chunk % groups * width, k0 = chunk / groups * TILE_K;
  int64_t kc = min64(TILE_K, job->ks - k0), j = job->j + first, count = min64(width, job->nc - first);
  bf16 *out = (bf16 *)job->packed + first / EDGE * strip_size(job->ks) + strip_size(k0);
  const float *from = g->tb ? g->b + j * g->ldb + job->k0 + k0 : g->b + (job->k0 + k0) * g->ldb + j;
  int64_t ld = g->ldb, along_k = g->tb;
  if (g->pack_b) {
    g->pack_b(g, j, (int)count, job->k0 + k0, (int)kc, scratch(thread));
    from = scratch(thread), ld = NR, along_k = 0;
  }
  if (pack_strips(from, ld, (int)along_k, count, kc, 1, out, strip_size(job->ks))) __atomic_store_n(&job->infinite, 1, __ATOMIC_RELAXED);
}

// EDGE x EDGE of the product, or what there is of it, over one block of k.
static void tiles_write(const gemm *g, int64_t i, int64_t mr, int64_t j, int64_t nr, int64_t steps, const bf16 *a, const bf16 *b, int add, float *sums) {
  float *c = g->c + i * g->ldc + j;
  const float *bias = add ? 0 : g->bias, *addend = add ? c : addend_at(g, c);
  int tall = mr > 16, wide = nr > 16;
  // Asked for before the product, the lines it is written to are there when it ends.
  for (int64_t r = 0; r < mr; r++) __builtin_prefetch(c + r * g->ldc, 1), __builtin_prefetch(c + r * g->ldc + nr - 1, 1);
  if (mr == EDGE && nr == EDGE && (add || (!bias && !addend))) {
    strip_product(steps, a, b, c, g->ldc, add, 1, 1);
    return;
  }
  if (tall && wide) strip_product(steps, a, b, sums, EDGE, 0, 1, 1);
  else if (tall) strip_product(steps, a, b, sums, EDGE, 0, 1, 0);
  else if (wide) strip_product(steps, a, b, sums, EDGE, 0, 0, 1);
  else strip_product(steps, a, b, sums, EDGE, 0, 0, 0);
  for (int64_t r = 0; r < mr; r++)
    SIMD for (int64_t s = 0; s < nr; s++) {
      float sum = sums[r * EDGE + s];
      if (bias) sum += bias[j + s];
      if (addend) sum += addend[r * g->ldc + s];
      c[r * g->ldc + s] = sum;
    }
}

static void tiles_block_chunk(void *context, int64_t chunk, int thread) {
  const gemm_job *job = context;
  const gemm *g = job->g;
  float *sums = scratch(thread), *spare = sums + EDGE * EDGE;
  bf16 *pa = (bf16 *)spare;
  int64_t i0 = chunk % job->row_blocks * job->rows, i1 = min64(g->m, i0 + job->rows);
  int64_t j0 = chunk / job->row_blocks * job->columns, j1 = min64(job->nc, j0 + job->columns);
  tiles_begin();
  for (int64_t k0 = 0; k0 < job->ks; k0 += TILE_K) {
    int64_t kc = min64(TILE_K, job->ks - k0), k = job->k0 + k0, size = strip_size(kc);
    int add = k > 0 || g->accumulate;
    for (int64_t i = i0; i < i1; i += TILE_ROWS) {
      int64_t last = min64(i1, i + TILE_ROWS);
      uint64_t infinite = job->infinite ? ~(uint64_t)0 : pack_strips(g->ta ? g->a + k * g->lda + i : g->a + i * g->lda + k, g->lda, !g->ta, last - i, kc, 0, pa, size);
      for (int64_t j = j0; j < j1; j += EDGE) {
        const bf16 *b = (const bf16 *)job->packed + j / EDGE * strip_size(job->ks) + strip_size(k0);
        for (int64_t ii = i; ii < last; ii += EDGE)
          if (!(infinite >> (ii - i) / EDGE & 1))
            tiles_write(g, ii, min64(EDGE, last - ii), job->j + j, min64(EDGE, j1 - j), ceil_div(kc, STEP), pa + (ii - i) / EDGE * size, b, add, sums);
      }
      // What is not finite goes by vectors, strip by strip, whatever else is in the block.
      for (int64_t ii = i; ii < last && infinite; ii += EDGE)
        if (infinite >> (ii - i) / EDGE & 1) gemm_serial(g, ii, min64(last, ii + EDGE), job->j + j0, job->j + j1, k, k + kc, spare);
    }
  }
  tiles_end();
}

static void gemm_tiles(gemm_job *job, double work) {
  const gemm *g = job->g;
  int64_t columns = round_up(g->n, EDGE), room = 2 * (int64_t)WORKSPACE_FLOATS / PARTS;
  int64_t ks = min64(g->k, max64(TILE_K, room / min64(columns, 1024) / TILE_K * TILE_K));
  int64_t nc = min64(columns, room / round_up(ks, STEP) / EDGE * EDGE);
  for (job->k0 = 0; job->k0 < g->k; job->k0 += ks) {
    job->ks = min64(ks, g->k - job->k0);
    for (job->j = 0; job->j < g->n; job->j += nc) {
      job->nc = min64(nc, g->n - job->j);
      job->infinite = 0;
      int64_t strips = ceil_div(job->nc, EDGE), row_strips = ceil_div(g->m, EDGE);
      parallel(ceil_div(job->nc, g->pack_b ? EDGE : PACK_PANELS * EDGE) * ceil_div(job->ks, TILE_K), (double)job->nc * (double)job->ks, tiles_pack_chunk, job);
      // Rows are cut first, as each block packs its own.
      int64_t wanted = pool.threads > 1 ? 4 * pool.threads : 1;
      job->rows = max64(min64(2, row_strips), min64(TILE_ROWS / EDGE, row_strips / wanted)) * EDGE;
      job->row_blocks = ceil_div(g->m, job->rows);
      job->columns = ceil_div(strips, min64(strips, ceil_div(wanted, job->row_blocks))) * EDGE;
      parallel(job->row_blocks * ceil_div(job->nc, job->columns), work, tiles_block_chunk, job);
    }
  }
}
#endif

static void gemv_chunk(void *context, int64_t chunk, int thread) {
  const gemm *g = ((gemm_job *)context)->g;
  (void)thread;
  gemv_columns(g, chunk * GEMV_COLUMNS, min64(g->n, (chunk + 1) * GEMV_COLUMNS));
}

static void gemm_parallel(const gemm *g) {
  if (g->m == 0 || g->n == 0) return;
  gemm_job job = {.g = g};
  double work = (double)g->m * (double)g->n * (double)g->k / 16;
  if (g->k == 0) {
    clear_product(g, 0, g->m, 0, g->n);
  } else if (g->m <= GEMV_ROWS && !g->ta && !g->pack_a && !g->pack_b && !g->rows) {
    parallel(ceil_div(g->n, GEMV_COLUMNS), work * 4, gemv_chunk, &job);
  } else {
    job.packed = workspace();
#ifdef TILES
    if (tiles_suit(g)) {
      gemm_tiles(&job, work);
      return;
    }
#endif
    // A slab of k and of columns such that the packed part of B fits.
    int64_t columns = round_up(g->n, NR);
    int64_t ks = min64(g->k, max64(KC, WORKSPACE_FLOATS / min64(columns, 1024) / KC * KC));
    int64_t nc = min64(columns, WORKSPACE_FLOATS / ks / NR * NR);
    for (job.k0 = 0; job.k0 < g->k; job.k0 += ks) {
      job.ks = min64(ks, g->k - job.k0);
      for (job.j = 0; job.j < g->n; job.j += nc) {
        job.nc = min64(nc, g->n - job.j);
        int64_t panels = ceil_div(job.nc, NR), row_panels = ceil_div(g->m, MR);
        parallel(ceil_div(job.nc, PACK_PANELS * NR) * ceil_div(job.ks, KC), (double)job.nc * (double)job.ks, gemm_pack_chunk, &job);
        // Enough blocks that threads end together. Cutting changes no sum, since each element adds up its own blocks of k. Rows are cut first,
        // down to four panels: a block packs its rows of A for itself, and lines of a transposed A are as long as that.
        int64_t wanted = pool.threads > 1 ? 4 * pool.threads : 1;
        job.rows = max64(min64(4, row_panels), min64(MC / MR, row_panels / wanted)) * MR;
        job.row_blocks = ceil_div(g->m, job.rows);
        int64_t splits = min64(panels, ceil_div(wanted, job.row_blocks));
        job.columns = ceil_div(panels, splits) * NR;
        parallel(job.row_blocks * ceil_div(job.nc, job.columns), work, gemm_block_chunk, &job);
      }
    }
  }
}

static void gemm_batch_chunk(void *context, int64_t chunk, int thread) {
  const gemm_job *job = context;
  gemm g = *job->g;
  g.a += chunk * job->batch_a;
  g.b += chunk * job->batch_b;
  g.c += chunk * job->batch_c;
  if (g.addend) g.addend += chunk * job->batch_c;
  if (g.m <= GEMV_ROWS && !g.ta) gemv_columns(&g, 0, g.n);
  else gemm_serial(&g, 0, g.m, 0, g.n, 0, g.k, scratch(thread));
}

// gemm: a, b, c, bias? [n], addend? like c; batch, strideA, strideB, strideC, m, n, k, lda, ldb, ldc, transposeA, transposeB, accumulate
static int k_gemm(const args *a) {
  gemm g = {.a = FLOATS(0), .b = FLOATS(1), .c = FLOATS(2), .bias = FLOATS(3), .addend = FLOATS(4), .m = NUM(4), .n = NUM(5), .k = NUM(6),
            .lda = NUM(7), .ldb = NUM(8), .ldc = NUM(9), .ta = (int)NUM(10), .tb = (int)NUM(11), .accumulate = (int)NUM(12)};
  int64_t batch = NUM(0);
  if (g.k == 0 || batch >= 8 || (double)g.m * (double)g.n * (double)g.k < 32768) {
    if (g.m == 0 || g.n == 0) return 0;
    gemm_job job = {.g = &g, .batch_a = NUM(1), .batch_b = NUM(2), .batch_c = NUM(3)};
    if (g.k == 0) for (int64_t i = 0; i < batch; i++) {
      gemm h = g;
      h.c += i * NUM(3);
      if (h.addend) h.addend += i * NUM(3);
      clear_product(&h, 0, h.m, 0, h.n);
    }
    else parallel(batch, (double)batch * (double)g.m * (double)g.n * (double)g.k / 16, gemm_batch_chunk, &job);
    return 0;
  }
  for (int64_t i = 0; i < batch; i++) {
    gemm h = g;
    h.a += i * NUM(1);
    h.b += i * NUM(2);
    h.c += i * NUM(3);
    if (h.addend) h.addend += i * NUM(3);
    gemm_parallel(&h);
  }
  return 0;
}
