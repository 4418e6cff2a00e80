// Scaled dot-product attention with a streaming softmax (Dao et al. 2022): scores exist one block at a time. Heads lie side by side in the last
// axis of q [batch, tokens, heads * dim] and k, v [batch, keys, kvHeads * dim]; nothing is transposed.
#pragma once
#include "gemm.h"
#include "mathf.h"

#define QUERY_BLOCK 64
#define KEY_BLOCK 256

typedef struct {
  int64_t batch, tokens, keys, heads, kv_heads, dim, key_rows;  // key_rows: from one sequence's keys to the next's
  int causal;
  float scale;
  const float *q, *k, *v, *bias;
  int64_t bias_batch, bias_row;  // strides, 0 where broadcast
  float *y, *lse;
  const float *dy;
  float *dq, *dk, *dv, *delta;
} attention_job;

// q, k, v, bias?; batch, tokens, keys, heads, kvHeads, dim, causal, scale, biasBatchStride, biasRowStride, rows of k and v a sequence (without gradient: >= keys)
static attention_job attention_arguments(const args *a) {
  return (attention_job){.batch = NUM(0), .tokens = NUM(1), .keys = NUM(2), .heads = NUM(3), .kv_heads = NUM(4), .dim = NUM(5), .causal = (int)NUM(6),
                         .scale = (float)a->n[7], .bias_batch = NUM(8), .bias_row = NUM(9), .key_rows = NUM(10), .q = FLOATS(0), .k = FLOATS(1), .v = FLOATS(2), .bias = FLOATS(3)};
}

// Scores of queries [i0, i0 + m) and keys [j0, j0 + n), scaled, with bias; keys after a query's last visible one are -infinity.
static void attention_scores(const attention_job *job, int64_t b, const float *q, const float *k, int64_t i0, int m, int64_t j0, int n, float *s, float *buffer) {
  gemm g = {.a = q, .b = k, .c = s, .m = m, .n = n, .k = job->dim, .lda = job->heads * job->dim, .ldb = job->kv_heads * job->dim, .ldc = n, .tb = 1};
  gemm_serial(&g, 0, m, 0, n, buffer);
  for (int i = 0; i < m; i++) {
    float *row = s + (int64_t)i * n;
    float scale = job->scale;
    if (job->bias) {
      const float *bias = job->bias + b * job->bias_batch + (i0 + i) * job->bias_row + j0;
      SIMD for (int j = 0; j < n; j++) row[j] = row[j] * scale + bias[j];
    } else {
      SIMD for (int j = 0; j < n; j++) row[j] *= scale;
    }
    if (job->causal) {
      int64_t visible = i0 + i + 1 + job->keys - job->tokens - j0;
      for (int64_t j = max64(0, visible); j < n; j++) row[j] = -INFINITY_F;
    }
  }
}

// Number of keys that queries before `end` see.
static int64_t visible_keys(const attention_job *job, int64_t end) {
  return job->causal ? max64(0, min64(job->keys, end + job->keys - job->tokens)) : job->keys;
}

static void attention_block(void *context, int64_t chunk, int thread) {
  const attention_job *job = context;
  int64_t blocks = ceil_div(job->tokens, QUERY_BLOCK), i0 = chunk % blocks * QUERY_BLOCK;
  int64_t h = chunk / blocks % job->heads, b = chunk / blocks / job->heads, d = job->dim;
  int64_t ldq = job->heads * d, ldk = job->kv_heads * d, kv = h / (job->heads / job->kv_heads);
  int m = (int)min64(QUERY_BLOCK, job->tokens - i0);
  const float *q = job->q + (b * job->tokens + i0) * ldq + h * d;
  const float *k = job->k + b * job->key_rows * ldk + kv * d, *v = job->v + b * job->key_rows * ldk + kv * d;
  float *y = job->y + (b * job->tokens + i0) * ldq + h * d, *lse = job->lse + (b * job->heads + h) * job->tokens + i0;
  float *buffer = scratch(thread), *s = buffer + PACK_A_FLOATS + PACK_B_FLOATS;
  float top[QUERY_BLOCK], sum[QUERY_BLOCK];
  for (int i = 0; i < m; i++) top[i] = -INFINITY_F, sum[i] = 0;
  int64_t keys = visible_keys(job, i0 + m);
  if (keys == 0)
    for (int i = 0; i < m; i++)
      for (int64_t c = 0; c < d; c++) y[i * ldq + c] = 0;
  for (int64_t j0 = 0; j0 < keys; j0 += KEY_BLOCK) {
    int n = (int)min64(KEY_BLOCK, keys - j0);
    attention_scores(job, b, q, k + j0 * ldk, i0, m, j0, n, s, buffer);
    for (int i = 0; i < m; i++) {
      float *row = s + (int64_t)i * n, peak = row_max(row, n, top[i]), total = 0;
      float shift = peak == -INFINITY_F ? 0.f : peak;  // a row without a visible key yet
      SIMD_SUM(total) for (int j = 0; j < n; j++) {
        float e = exp_f(row[j] - shift);
        row[j] = e;
        total += e;
      }
      if (j0 > 0) {
        float shrink = exp_f(top[i] - shift);
        sum[i] *= shrink;
        SIMD for (int64_t c = 0; c < d; c++) y[i * ldq + c] *= shrink;
      }
      sum[i] += total;
      top[i] = shift == 0.f && peak == -INFINITY_F ? peak : shift;
    }
    gemm g = {.a = s, .b = v + j0 * ldk, .c = y, .m = m, .n = d, .k = n, .lda = n, .ldb = ldk, .ldc = ldq, .accumulate = j0 > 0};
    gemm_serial(&g, 0, m, 0, d, buffer);
  }
  for (int i = 0; i < m; i++) {
    float inverse = 1.f / sum[i];
    // No visible key: 0 / 0, as a softmax over nothing gives.
    SIMD for (int64_t c = 0; c < d; c++) y[i * ldq + c] *= inverse;
    lse[i] = top[i] + log_f(sum[i]);
  }
}

// attention: q, k, v, bias?, y, lse; see attention_arguments
static int k_attention(const args *a) {
  attention_job job = attention_arguments(a);
  job.y = FLOATS(4);
  job.lse = FLOATS(5);
  int64_t blocks = ceil_div(job.tokens, QUERY_BLOCK);
  parallel(job.batch * job.heads * blocks, (double)job.batch * job.heads * job.tokens * job.keys * job.dim / 4, attention_block, &job);
  return 0;
}

// Probabilities and score gradients of one block: s becomes exp(score - lse), t becomes s * (dy v' - delta) * scale.
static void attention_grad_scores(const attention_job *job, int64_t b, int64_t h, const float *q, const float *k, const float *v, const float *dy, int64_t i0, int m,
                                  int64_t j0, int n, float *s, float *t, float *buffer) {
  attention_scores(job, b, q, k, i0, m, j0, n, s, buffer);
  gemm g = {.a = dy, .b = v, .c = t, .m = m, .n = n, .k = job->dim, .lda = job->heads * job->dim, .ldb = job->kv_heads * job->dim, .ldc = n, .tb = 1};
  gemm_serial(&g, 0, m, 0, n, buffer);
  const float *lse = job->lse + (b * job->heads + h) * job->tokens + i0, *delta = job->delta + (b * job->heads + h) * job->tokens + i0;
  for (int i = 0; i < m; i++) {
    float *p = s + (int64_t)i * n, *u = t + (int64_t)i * n, l = lse[i], shift = delta[i], scale = job->scale;
    SIMD for (int j = 0; j < n; j++) {
      p[j] = exp_f(p[j] - l);
      u[j] = p[j] * (u[j] - shift) * scale;
    }
  }
}

static void attention_delta_rows(const args *a, int64_t begin, int64_t end) {
  int64_t tokens = NUM(1), heads = NUM(3), d = NUM(5);
  for (int64_t r = begin; r < end; r++)
    for (int64_t h = 0; h < heads; h++)
      FLOATS(10)[(r / tokens * heads + h) * tokens + r % tokens] = dot(FLOATS(4) + (r * heads + h) * d, FLOATS(6) + (r * heads + h) * d, d);
}

// All of one key-value head: every query block against every key block.
static void attention_grad_head(void *context, int64_t chunk, int thread) {
  const attention_job *job = context;
  int64_t kv = chunk % job->kv_heads, b = chunk / job->kv_heads, d = job->dim, group = job->heads / job->kv_heads;
  int64_t ldq = job->heads * d, ldk = job->kv_heads * d, at_k = b * job->keys * ldk + kv * d;
  float *buffer = scratch(thread), *s = buffer + PACK_A_FLOATS + PACK_B_FLOATS, *t = s + QUERY_BLOCK * KEY_BLOCK;
  for (int64_t j = 0; j < job->keys; j++)
    for (int64_t c = 0; c < d; c++) job->dk[at_k + j * ldk + c] = 0, job->dv[at_k + j * ldk + c] = 0;
  for (int64_t h = kv * group; h < (kv + 1) * group; h++)
    for (int64_t i0 = 0; i0 < job->tokens; i0 += QUERY_BLOCK) {
      int m = (int)min64(QUERY_BLOCK, job->tokens - i0);
      int64_t at_q = (b * job->tokens + i0) * ldq + h * d, keys = visible_keys(job, i0 + m);
      for (int i = 0; i < m; i++)
        for (int64_t c = 0; c < d; c++) job->dq[at_q + i * ldq + c] = 0;
      for (int64_t j0 = 0; j0 < keys; j0 += KEY_BLOCK) {
        int n = (int)min64(KEY_BLOCK, keys - j0);
        int64_t at = at_k + j0 * ldk;
        attention_grad_scores(job, b, h, job->q + at_q, job->k + at, job->v + at, job->dy + at_q, i0, m, j0, n, s, t, buffer);
        gemm dv = {.a = s, .b = job->dy + at_q, .c = job->dv + at, .m = n, .n = d, .k = m, .lda = n, .ldb = ldq, .ldc = ldk, .ta = 1, .accumulate = 1};
        gemm dq = {.a = t, .b = job->k + at, .c = job->dq + at_q, .m = m, .n = d, .k = n, .lda = n, .ldb = ldk, .ldc = ldq, .accumulate = 1};
        gemm dk = {.a = t, .b = job->q + at_q, .c = job->dk + at, .m = n, .n = d, .k = m, .lda = n, .ldb = ldq, .ldc = ldk, .ta = 1, .accumulate = 1};
        gemm_serial(&dv, 0, n, 0, d, buffer);
        gemm_serial(&dq, 0, m, 0, d, buffer);
        gemm_serial(&dk, 0, n, 0, d, buffer);
      }
    }
}

// attention_grad: q, k, v, bias?, y, lse, dy, dq, dk, dv, delta [batch, heads, tokens] (working space)
static int k_attention_grad(const args *a) {
  attention_job job = attention_arguments(a);
  job.y = FLOATS(4), job.lse = FLOATS(5), job.dy = FLOATS(6), job.dq = FLOATS(7), job.dk = FLOATS(8), job.dv = FLOATS(9), job.delta = FLOATS(10);
  parallel_rows(a, job.batch * job.tokens, job.heads * job.dim, 1, attention_delta_rows);
  parallel(job.batch * job.kv_heads, (double)job.batch * job.heads * job.tokens * job.keys * job.dim / 2, attention_grad_head, &job);
  return 0;
}

// rope: x [rows, heads * dim], cos, sin [batch or 1, tokens, dim], y, which may be x; batch, tokens, heads, dim, tableBatchStride, inverse. Rotate-half (Su et al. 2021).
static void rope_rows(const args *a, int64_t begin, int64_t end) {
  int64_t tokens = NUM(1), heads = NUM(2), d = NUM(3), half = d / 2;
  float sign = a->n[5] != 0 ? -1.f : 1.f;
  for (int64_t r = begin; r < end; r++) {
    int64_t table = r / tokens * NUM(4) + r % tokens * d;
    const float *c = FLOATS(1) + table, *s = FLOATS(2) + table;
    for (int64_t h = 0; h < heads; h++) {
      const float *x = FLOATS(0) + (r * heads + h) * d;
      float *y = FLOATS(3) + (r * heads + h) * d;
      if (sign > 0) {
        SIMD for (int64_t i = 0; i < half; i++) {
          float low = x[i], high = x[i + half];
          y[i] = low * c[i] - high * s[i];
          y[i + half] = high * c[i + half] + low * s[i + half];
        }
      } else {
        SIMD for (int64_t i = 0; i < half; i++) {
          float low = x[i], high = x[i + half];
          y[i] = low * c[i] + high * s[i + half];
          y[i + half] = high * c[i + half] - low * s[i];
        }
      }
    }
  }
}
static int k_rope(const args *a) {
  parallel_rows(a, NUM(0) * NUM(1), NUM(2) * NUM(3), 1, rope_rows);
  return 0;
}
