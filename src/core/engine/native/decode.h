// One layer of a LLaMA for the next token of a few sequences, from state to state: norm, projections, rotation, cache, attention, gated block. Matrices
// are read once and nothing is packed, as the time goes into reading them.
#pragma once
#include "attention.h"

#define DECODE_ROWS 32
// A chunk of columns holds about this many multiplications for each row.
#define DECODE_CHUNK 24576

typedef struct {
  int64_t rows, dim, heads, kv_heads, head_dim, inner, length, room;
  float scale;
  const float *x, *norm1, *q, *k, *v, *o, *norm2, *gate, *up, *down, *cos, *sin, *bias;
  int64_t angle_row, bias_row;  // strides, 0 where all sequences share them
  float *keys, *values, *y;
  float *normal, *projected, *mixed, *attended, *hidden;  // [rows, …]: after a norm, queries with keys and values, attention, its residual sum, gated
  int64_t step;
} decode_job;

// out[i][j] = x_i · w_j for `m` rows of x and `n` of w, both known to the compiler.
static inline __attribute__((always_inline)) void decode_tile(int m, int n, const float *x, int64_t ldx, const float *w, int64_t ldw, int64_t k, float *out, int64_t ldo) {
  vf sum[4][4];
  float rest[4][4];
#pragma GCC unroll 4
  for (int i = 0; i < m; i++)
#pragma GCC unroll 4
    for (int j = 0; j < n; j++) sum[i][j] = (vf){0}, rest[i][j] = 0;
  int64_t q = 0;
  for (; q + VL <= k; q += VL) {
    vf wv[4];
#pragma GCC unroll 4
    for (int j = 0; j < n; j++) wv[j] = *(const vf *)(w + j * ldw + q);
#pragma GCC unroll 4
    for (int i = 0; i < m; i++) {
      vf xv = *(const vf *)(x + i * ldx + q);
#pragma GCC unroll 4
      for (int j = 0; j < n; j++) sum[i][j] = MADD(xv, wv[j], sum[i][j]);
    }
  }
  for (; q < k; q++)
    for (int i = 0; i < m; i++)
      for (int j = 0; j < n; j++) rest[i][j] += x[i * ldx + q] * w[j * ldw + q];
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      float total = rest[i][j];
      for (int l = 0; l < VL; l++) total += sum[i][j][l];
      out[i * ldo + j] = total;
    }
}

// out[i][j - first] = x_i · w_j for all rows of x and rows [first, last) of w. A row's sums do not depend on how many rows there are.
static void decode_products(const float *x, int64_t rows, const float *w, int64_t k, int64_t first, int64_t last, float *out, int64_t ldo) {
  int64_t j = first;
  for (; j + 4 <= last; j += 4) {
    int64_t i = 0;
    for (; i + 2 <= rows; i += 2) decode_tile(2, 4, x + i * k, k, w + j * k, k, k, out + i * ldo + j - first, ldo);
    if (i < rows) decode_tile(1, 4, x + i * k, k, w + j * k, k, k, out + i * ldo + j - first, ldo);
  }
  for (; j < last; j++)
    for (int64_t i = 0; i < rows; i++) decode_tile(1, 1, x + i * k, k, w + j * k, k, k, out + i * ldo + j - first, ldo);
}

static void decode_norm(const float *x, const float *weight, int64_t rows, int64_t dim, float eps, float *y) {
  for (int64_t r = 0; r < rows; r++, x += dim, y += dim) {
    float s = 0;
    SIMD_SUM(s) for (int64_t i = 0; i < dim; i++) s += x[i] * x[i];
    float rstd = 1.f / __builtin_sqrtf(s / (float)dim + eps);
    SIMD for (int64_t i = 0; i < dim; i++) y[i] = x[i] * rstd * weight[i];
  }
}

static int64_t decode_step(int64_t k) { return max64(4, DECODE_CHUNK / max64(1, k) / 4 * 4); }

// Columns of the joint projection to queries, keys and values.
static void decode_project(void *context, int64_t chunk, int thread) {
  const decode_job *job = context;
  int64_t q = job->heads * job->head_dim, kv = job->kv_heads * job->head_dim, width = q + 2 * kv;
  (void)thread;
  struct { const float *weight; int64_t at, count; } part[] = {{job->q, 0, q}, {job->k, q, kv}, {job->v, q + kv, kv}};
  int64_t begin = chunk * job->step, end = min64(width, begin + job->step);
  for (int p = 0; p < 3; p++) {
    int64_t first = max64(begin, part[p].at), last = min64(end, part[p].at + part[p].count);
    if (first < last) decode_products(job->normal, job->rows, part[p].weight, job->dim, first - part[p].at, last - part[p].at, job->projected + first, width);
  }
}

static void decode_rotate(const decode_job *job, float *x, int64_t row) {
  const float *c = job->cos + row * job->angle_row, *s = job->sin + row * job->angle_row;
  int64_t half = job->head_dim / 2;
  for (int64_t i = 0; i < half; i++) {
    float low = x[i], high = x[i + half];
    x[i] = low * c[i] - high * s[i];
    x[i + half] = high * c[i + half] + low * s[i + half];
  }
}

// One head of keys and values of one sequence: new ones go to the cache, then the queries that share them attend.
static void decode_attend(void *context, int64_t chunk, int thread) {
  const decode_job *job = context;
  int64_t row = chunk / job->kv_heads, kv = chunk % job->kv_heads, d = job->head_dim, ldk = job->kv_heads * d, group = job->heads / job->kv_heads;
  int64_t count = job->length + 1, width = (job->heads + 2 * job->kv_heads) * d;
  float *projected = job->projected + row * width, *key = projected + (job->heads + kv) * d, *value = key + ldk;
  float *keys = job->keys + row * job->room * ldk + kv * d, *values = job->values + row * job->room * ldk + kv * d;
  float *score = scratch(thread);
  const float *bias = job->bias ? job->bias + row * job->bias_row : 0;
  decode_rotate(job, key, row);
  for (int64_t i = 0; i < d; i++) keys[job->length * ldk + i] = key[i], values[job->length * ldk + i] = value[i];
  for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
    float *query = projected + h * d, *mixed = job->mixed + (row * job->heads + h) * d;
    decode_rotate(job, query, row);
    attention_row(query, keys, values, bias, count, d, ldk, job->scale, score, mixed);
  }
}

// y = x w' + residual, for a chunk of columns.
static void decode_residual(const decode_job *job, int64_t chunk, const float *x, int64_t k, const float *weight, const float *residual, float *y) {
  int64_t begin = chunk * job->step, end = min64(job->dim, begin + job->step);
  decode_products(x, job->rows, weight, k, begin, end, y + begin, job->dim);
  for (int64_t r = 0; r < job->rows; r++)
    for (int64_t i = begin; i < end; i++) y[r * job->dim + i] += residual[r * job->dim + i];
}
static void decode_output(void *context, int64_t chunk, int thread) {
  const decode_job *job = context;
  (void)thread;
  decode_residual(job, chunk, job->mixed, job->heads * job->head_dim, job->o, job->x, job->attended);
}
static void decode_down(void *context, int64_t chunk, int thread) {
  const decode_job *job = context;
  (void)thread;
  decode_residual(job, chunk, job->hidden, job->inner, job->down, job->attended, job->y);
}

static void decode_gated(void *context, int64_t chunk, int thread) {
  const decode_job *job = context;
  int64_t begin = chunk * job->step, end = min64(job->inner, begin + job->step), n = end - begin;
  float *up = scratch(thread);
  decode_products(job->normal, job->rows, job->gate, job->dim, begin, end, job->hidden + begin, job->inner);
  decode_products(job->normal, job->rows, job->up, job->dim, begin, end, up, n);
  for (int64_t r = 0; r < job->rows; r++) {
    float *gate = job->hidden + r * job->inner + begin;
    const float *value = up + r * n;
    SIMD for (int64_t i = 0; i < n; i++) gate[i] = act_f(SILU, gate[i]) * value[i];
  }
}

static void decode_columns(decode_job *job, int64_t columns, int64_t k, chunk_fn run) {
  job->step = decode_step(k);
  parallel(ceil_div(columns, job->step), (double)job->rows * (double)columns * (double)k / 4, run, job);
}

// decode_layer: x [rows, dim], norm1, q, k, v, o, norm2, gate, up, down, cos, sin, keys and values [rows, room, kvHeads * headDim], bias?, y;
// rows, dim, heads, kvHeads, headDim, inner, length, room, eps, scale, angleRowStride, biasRowStride. The cache holds `length` tokens and gets one more.
static int k_decode_layer(const args *a) {
  decode_job job = {.rows = NUM(0), .dim = NUM(1), .heads = NUM(2), .kv_heads = NUM(3), .head_dim = NUM(4), .inner = NUM(5), .length = NUM(6), .room = NUM(7),
                    .scale = (float)a->n[9], .angle_row = NUM(10), .bias_row = NUM(11), .x = FLOATS(0), .norm1 = FLOATS(1), .q = FLOATS(2), .k = FLOATS(3),
                    .v = FLOATS(4), .o = FLOATS(5), .norm2 = FLOATS(6), .gate = FLOATS(7), .up = FLOATS(8), .down = FLOATS(9), .cos = FLOATS(10), .sin = FLOATS(11),
                    .keys = FLOATS(12), .values = FLOATS(13), .bias = FLOATS(14), .y = FLOATS(15)};
  float eps = (float)a->n[8];
  int64_t q = job.heads * job.head_dim, width = q + 2 * job.kv_heads * job.head_dim;
  if (job.rows == 0) return 0;
  int64_t widest = max64(job.rows * decode_step(job.dim), job.length + 1);
  if (job.rows > DECODE_ROWS || job.rows * (2 * job.dim + width + q + job.inner) > WORKSPACE_FLOATS || widest > SCRATCH_FLOATS) return 1;
  job.normal = workspace();
  job.projected = job.normal + job.rows * job.dim;
  job.mixed = job.projected + job.rows * width;
  job.attended = job.mixed + job.rows * q;
  job.hidden = job.attended + job.rows * job.dim;
  decode_norm(job.x, job.norm1, job.rows, job.dim, eps, job.normal);
  decode_columns(&job, width, job.dim, decode_project);
  parallel(job.rows * job.kv_heads, (double)job.rows * (double)q * (double)(job.length + 1), decode_attend, &job);
  decode_columns(&job, job.dim, q, decode_output);
  decode_norm(job.attended, job.norm2, job.rows, job.dim, eps, job.normal);
  decode_columns(&job, job.inner, job.dim, decode_gated);
  decode_columns(&job, job.dim, job.inner, decode_down);
  return 0;
}
