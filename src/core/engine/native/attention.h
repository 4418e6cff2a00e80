// Scaled dot-product attention with a streaming softmax (Dao et al. 2022): scores exist one block at a time. Heads lie side by side in the last
// axis of q [batch, tokens, heads * dim] and k, v [batch, keys, kvHeads * dim]. Queries lie along vectors and keys along rows, so that the softmax takes
// no sum across a vector and the scores are at once an operand of the next product.
#pragma once
#include "gemm.h"
#include "mathf.h"

// A chunk of work packs each block of keys once for all its queries, which it takes NR at a time.
#define QUERY_CHUNK 128
#define KEY_BLOCK 252  // a multiple of every MR
// Up to so many queries are taken one by one: the rest of a vector would stand empty.
#define FEW_QUERIES 4

typedef struct {
  int64_t batch, tokens, keys, heads, kv_heads, dim, key_rows;  // key_rows: from one sequence's keys to the next's
  int causal;
  float scale;
  const float *q, *k, *v, *bias;
  int64_t bias_batch, bias_row;  // strides, 0 where broadcast
  float *y, *lse;
  const float *dy;
  float *dq, *dk, *dv, *delta;
  const int32_t *starts;  // [batch + 1], where sequences of unequal length lie behind each other: the rows at which they begin, and the end
} attention_job;

// q, k, v, bias?; batch, tokens, keys, heads, kvHeads, dim, causal, scale, biasBatchStride, biasRowStride, rows of k and v a sequence (without gradient: >= keys).
// With `starts`, tokens and keys are those of the longest sequence, each sees itself alone, and there is no bias.
static attention_job attention_arguments(const args *a) {
  return (attention_job){.batch = NUM(0), .tokens = NUM(1), .keys = NUM(2), .heads = NUM(3), .kv_heads = NUM(4), .dim = NUM(5), .causal = (int)NUM(6),
                         .scale = (float)a->n[7], .bias_batch = NUM(8), .bias_row = NUM(9), .key_rows = NUM(10), .q = FLOATS(0), .k = FLOATS(1), .v = FLOATS(2), .bias = FLOATS(3)};
}

// Sequence b alone.
static attention_job attention_sequence(const attention_job *all, int64_t b) {
  attention_job own = *all;
  int64_t ldq = all->heads * all->dim, ldk = all->kv_heads * all->dim, row = b * all->tokens, key_row = b * all->key_rows;
  if (all->starts) row = key_row = all->starts[b], own.tokens = own.keys = all->starts[b + 1] - row;
  own.q += row * ldq, own.k += key_row * ldk, own.v += key_row * ldk, own.y += row * ldq;
  if (own.bias) own.bias += b * all->bias_batch;
  if (own.lse) own.lse += row * all->heads;
  if (own.dy) own.dy += row * ldq, own.dq += row * ldq, own.dk += key_row * ldk, own.dv += key_row * ldk, own.delta += row * all->heads;
  return own;
}

// Number of keys that queries before `end` see.
static int64_t visible_keys(const attention_job *job, int64_t end) {
  return job->causal ? max64(0, min64(job->keys, end + job->keys - job->tokens)) : job->keys;
}

// c [rows, NR] (+)= A B with columns of A contiguous (a row of keys or values is a column of A) and a panel B [k, NR].
static void attention_from_columns(int64_t rows, int64_t k, const float *a, int64_t step_a, const float *b, float *c, int add) {
  open_product(NV, rows, k, a, 1, step_a, b, NR, c, NR, add);
}
// c [rows, width] += A B with a panel A [rows, NR], of which k columns count, and rows of B; width is a multiple of VL.
static void attention_from_panel(int64_t rows, int64_t k, const float *a, const float *b, int64_t step_b, float *c, int64_t width) {
  int64_t j = 0;
  for (; j + NR <= width; j += NR) open_product(NV, rows, k, a, NR, 1, b + j, step_b, c + j, width, 1);
  for (; j < width; j += VL) open_product(1, rows, k, a, NR, 1, b + j, step_b, c + j, width, 1);
}

// Rows [0, count) of x, each of d, as panels [d][width] one after the other; the last one is filled up with zeros.
static void attention_pack(const float *x, int64_t ld, int64_t count, int64_t d, int width, float *out) {
  const float *rows[NR > MR ? NR : MR];
  for (int64_t i = 0; i < count; i += width, out += width * d) {
    int n = (int)min64(width, count - i);
    for (int r = 0; r < n; r++) rows[r] = x + (i + r) * ld;
    if (width == MR) pack_transposed(rows, n, MR, (int)d, out);
    else pack_transposed(rows, n, NR, (int)d, out);
  }
}

// y[lane][c] (+)= x[c][lane] * factor[lane] for `lanes` lanes of a panel x [d][NR].
static void attention_unpack(const float *x, int64_t lanes, int64_t d, const float *factor, float *y, int64_t ld, int add) {
  int64_t lane = 0;
  for (; lane + 4 <= lanes; lane += 4) {
    int64_t c = 0;
    v4f f = *(const v4f *)(factor + lane);
    for (; c + 4 <= d; c += 4) {
      const float *from = x + c * NR + lane;
      v4f p = *(const v4f *)from * f, q = *(const v4f *)(from + NR) * f, r = *(const v4f *)(from + 2 * NR) * f, s = *(const v4f *)(from + 3 * NR) * f;
      v4f pq0 = __builtin_shufflevector(p, q, 0, 4, 1, 5), pq1 = __builtin_shufflevector(p, q, 2, 6, 3, 7);
      v4f rs0 = __builtin_shufflevector(r, s, 0, 4, 1, 5), rs1 = __builtin_shufflevector(r, s, 2, 6, 3, 7);
      v4f out[4] = {__builtin_shufflevector(pq0, rs0, 0, 1, 4, 5), __builtin_shufflevector(pq0, rs0, 2, 3, 6, 7),
                    __builtin_shufflevector(pq1, rs1, 0, 1, 4, 5), __builtin_shufflevector(pq1, rs1, 2, 3, 6, 7)};
#pragma GCC unroll 4
      for (int l = 0; l < 4; l++) {
        v4f *to = (v4f *)(y + (lane + l) * ld + c);
        if (add) *to += out[l];
        else *to = out[l];
      }
    }
    for (; c < d; c++)
      for (int l = 0; l < 4; l++) y[(lane + l) * ld + c] = (add ? y[(lane + l) * ld + c] : 0.f) + x[c * NR + lane + l] * factor[lane + l];
  }
  for (; lane < lanes; lane++)
    for (int64_t c = 0; c < d; c++) y[lane * ld + c] = (add ? y[lane * ld + c] : 0.f) + x[c * NR + lane] * factor[lane];
}

// Scores [n][NR] of packed keys and a panel of scaled queries, with bias; keys after a query's last visible one are -infinity.
// The panel's queries start at i, `lanes` of them, the keys at j0.
static void attention_scores(const attention_job *job, const float *keys, const float *queries, int64_t i, int64_t lanes, int64_t j0, int64_t n, float *s) {
  int64_t d = job->dim;
  for (int64_t j = 0; j < n; j += MR) open_tile(MR, NV, d, keys + j * d, 1, MR, queries, NR, s + j * NR, NR, 0);
  if (job->bias) {
    const float *bias = job->bias + j0;
    if (job->bias_row) {
      for (int64_t lane = 0; lane < lanes; lane++)
        for (int64_t j = 0; j < n; j++) s[j * NR + lane] += bias[(i + lane) * job->bias_row + j];
    } else {
      for (int64_t j = 0; j < n; j++) {
        float shift = bias[j];
        SIMD for (int lane = 0; lane < NR; lane++) s[j * NR + lane] += shift;
      }
    }
  }
  if (job->causal) {
    int64_t last = i + job->keys - job->tokens - j0;  // the last key that the panel's first query sees
    for (int64_t j = max64(0, last + 1); j < n; j++)
      for (int64_t lane = 0; lane < min64(NR, j - last); lane++) s[j * NR + lane] = -INFINITY_F;
  }
}

// One query after the other, for few of them. `score` holds all keys.
static float attention_row(const float *q, const float *k, const float *v, const float *bias, int64_t count, int64_t d, int64_t ldk, float scale, float *score, float *y) {
  gemm s = {.a = q, .b = k, .c = score, .m = 1, .n = count, .k = d, .ldb = ldk, .tb = 1};
  gemv_columns(&s, 0, count);
  if (bias) {
    SIMD for (int64_t j = 0; j < count; j++) score[j] = score[j] * scale + bias[j];
  } else {
    SIMD for (int64_t j = 0; j < count; j++) score[j] *= scale;
  }
  float peak = row_max(score, count, -INFINITY_F), shift = peak == -INFINITY_F ? 0.f : peak, total = 0;
  SIMD_SUM(total) for (int64_t j = 0; j < count; j++) {
    float e = exp_below_88(score[j] - shift);
    score[j] = e;
    total += e;
  }
  gemm m = {.a = score, .b = v, .c = y, .m = 1, .n = d, .k = count, .ldb = ldk};
  gemv_columns(&m, 0, d);
  float inverse = 1.f / total;
  SIMD for (int64_t i = 0; i < d; i++) y[i] *= inverse;
  return peak + log_f(total);
}

// Keys a block may hold so that everything fits into a thread's memory; 0: none.
static int64_t attention_key_block(int64_t d) {
  int64_t padded = ceil_div(max64(1, d), VL) * VL, left = SCRATCH_FLOATS - 8 * NR * padded - 2 * QUERY_CHUNK * (padded + 1) - 4096;
  return max64(0, min64(KEY_BLOCK, left / (4 * padded + 2 * NR) / MR * MR));
}

static void attention_few(const attention_job *job, int64_t h, float *score) {
  int64_t d = job->dim, ldq = job->heads * d, ldk = job->kv_heads * d, at = h / (job->heads / job->kv_heads) * d;
  for (int64_t i = 0; i < job->tokens; i++) {
    const float *bias = job->bias ? job->bias + i * job->bias_row : 0;
    float lse = attention_row(job->q + i * ldq + h * d, job->k + at, job->v + at, bias, visible_keys(job, i + 1), d, ldk, job->scale, score, job->y + i * ldq + h * d);
    if (job->lse) job->lse[h * job->tokens + i] = lse;
  }
}

static void attention_block(void *context, int64_t chunk, int thread) {
  const attention_job *all = context;
  int64_t chunks = ceil_div(all->tokens, QUERY_CHUNK), first = chunk % chunks * QUERY_CHUNK, h = chunk / chunks % all->heads;
  attention_job own = attention_sequence(all, chunk / chunks / all->heads), *job = &own;
  int64_t count = min64(QUERY_CHUNK, job->tokens - first), d = job->dim, step = attention_key_block(d);
  int64_t ldq = job->heads * d, ldk = job->kv_heads * d, kv = h / (job->heads / job->kv_heads);
  if (count <= 0) return;  // shorter than the longest
  if (job->tokens <= FEW_QUERIES && job->keys <= SCRATCH_FLOATS) {
    attention_few(job, h, scratch(thread));
    return;
  }
  const float *k = job->k + kv * d, *v = job->v + kv * d;
  int64_t at = first * ldq + h * d, panels = ceil_div(count, NR);
  float *queries = scratch(thread), *mixed = queries + panels * NR * d, *s = mixed + panels * NR * d, *keys = s + step * NR, *top = keys + step * d, *sum = top + panels * NR;
  attention_pack(job->q + at, ldq, count, d, NR, queries);
  SIMD for (int64_t i = 0; i < panels * NR * d; i++) queries[i] *= job->scale, mixed[i] = 0;
  for (int64_t i = 0; i < panels * NR; i++) top[i] = -INFINITY_F, sum[i] = 0;
  int64_t visible = visible_keys(job, first + count);
  for (int64_t j0 = 0; j0 < visible; j0 += step) {
    int64_t n = min64(step, visible - j0);
    attention_pack(k + j0 * ldk, ldk, n, d, MR, keys);
    for (int64_t p = 0; p < panels; p++) {
      int64_t i = first + p * NR, lanes = min64(NR, count - p * NR), seen = min64(n, visible_keys(job, i + lanes) - j0);
      if (seen <= 0) continue;
      float *peak = top + p * NR, *total = sum + p * NR, *y = mixed + p * NR * d, shift[NR], shrink[NR];
      attention_scores(job, keys, queries + p * NR * d, i, lanes, j0, seen, s);
      SIMD for (int l = 0; l < NR; l++) shift[l] = peak[l];
      for (int64_t j = 0; j < seen; j++) {
        SIMD for (int l = 0; l < NR; l++) shift[l] = s[j * NR + l] > shift[l] ? s[j * NR + l] : shift[l];
      }
      SIMD for (int l = 0; l < NR; l++) {
        float old = peak[l];
        peak[l] = shift[l];
        shift[l] = shift[l] == -INFINITY_F ? 0.f : shift[l];  // a row without a visible key yet
        shrink[l] = exp_f(old - shift[l]);
        total[l] *= shrink[l];
      }
      if (j0 > 0)
        for (int64_t c = 0; c < d; c++) {
          SIMD for (int l = 0; l < NR; l++) y[c * NR + l] *= shrink[l];
        }
      for (int64_t j = 0; j < seen; j++) {
        SIMD for (int l = 0; l < NR; l++) {
          float e = exp_below_88(s[j * NR + l] - shift[l]);
          s[j * NR + l] = e;
          total[l] += e;
        }
      }
      attention_from_columns(d, seen, v + j0 * ldk, ldk, s, y, 1);
    }
  }
  for (int64_t p = 0; p < panels; p++) {
    float inverse[NR];
    int64_t lanes = min64(NR, count - p * NR);
    // No visible key: 0 / 0, as a softmax over nothing gives.
    for (int l = 0; l < NR; l++) inverse[l] = 1.f / sum[p * NR + l];
    attention_unpack(mixed + p * NR * d, lanes, d, inverse, job->y + at + p * NR * ldq, ldq, 0);
    if (job->lse)
      for (int64_t l = 0; l < lanes; l++) job->lse[h * job->tokens + first + p * NR + l] = top[p * NR + l] + log_f(sum[p * NR + l]);
  }
}

// attention: q, k, v, bias?, y, lse?, starts?; see attention_arguments
static int k_attention(const args *a) {
  attention_job job = attention_arguments(a);
  job.y = FLOATS(4);
  job.lse = FLOATS(5);
  job.starts = INTS(6);
  if (attention_key_block(job.dim) == 0) return 1;
  int64_t chunks = ceil_div(job.tokens, QUERY_CHUNK);
  parallel(job.batch * job.heads * chunks, (double)job.batch * job.heads * job.tokens * job.keys * job.dim / 4, attention_block, &job);
  return 0;
}

static void attention_delta_head(void *context, int64_t chunk, int thread) {
  const attention_job *all = context;
  int64_t h = chunk % all->heads, d = all->dim, ld = all->heads * d;
  attention_job job = attention_sequence(all, chunk / all->heads);
  (void)thread;
  for (int64_t i = 0; i < job.tokens; i++) job.delta[h * job.tokens + i] = dot(job.y + i * ld + h * d, job.dy + i * ld + h * d, d);
}

// Rows with zeros behind them up to `padded`; or the rows where they are, when nothing is missing.
static const float *attention_padded(const float *x, int64_t *ld, int64_t rows, int64_t d, int64_t padded, float *out) {
  if (padded == d) return x;
  for (int64_t r = 0; r < rows; r++) {
    for (int64_t c = 0; c < d; c++) out[r * padded + c] = x[r * *ld + c];
    for (int64_t c = d; c < padded; c++) out[r * padded + c] = 0;
  }
  *ld = padded;
  return out;
}

// All of one key-value head. With P the probabilities and T = P * (dY V' - delta): dV = P' dY, dQ = scale T K, dK = scale T' Q, all from transposed blocks.
static void attention_grad_head(void *context, int64_t chunk, int thread) {
  const attention_job *all = context;
  attention_job own = attention_sequence(all, chunk / all->kv_heads), *job = &own;
  int64_t kv = chunk % job->kv_heads, d = job->dim, group = job->heads / job->kv_heads, step = attention_key_block(d);
  int64_t ldq = job->heads * d, ldk = job->kv_heads * d, padded = round_up(d, VL);
  float *keys = scratch(thread), *values = keys + step * d, *dkeys = values + step * d, *dvalues = dkeys + step * padded, *s = dvalues + step * padded, *t = s + step * NR;
  float *queries = t + step * NR, *dys = queries + NR * d, *dqs = dys + NR * d, *query_rows = dqs + NR * d, *dy_rows = query_rows + NR * padded;
  float factor[NR], lse[NR], delta[NR];
  for (int l = 0; l < NR; l++) factor[l] = job->scale;
  if (job->keys == 0)
    for (int64_t i = 0; i < job->tokens; i++)
      for (int64_t c = 0; c < group * d; c++) job->dq[i * ldq + kv * group * d + c] = 0;
  for (int64_t j0 = 0; j0 < job->keys; j0 += step) {
    int64_t n = min64(step, job->keys - j0), at = kv * d + j0 * ldk;
    attention_pack(job->k + at, ldk, n, d, MR, keys);
    attention_pack(job->v + at, ldk, n, d, MR, values);
    for (int64_t i = 0; i < n * padded; i++) dkeys[i] = 0, dvalues[i] = 0;
    for (int64_t h = kv * group; h < (kv + 1) * group; h++)
      for (int64_t i = 0; i < job->tokens; i += NR) {
        int64_t lanes = min64(NR, job->tokens - i), at_q = i * ldq + h * d, row = h * job->tokens + i;
        int64_t seen = min64(n, visible_keys(job, i + lanes) - j0), ld_query = ldq, ld_dy = ldq;
        if (seen <= 0) {
          for (int64_t l = 0; j0 == 0 && l < lanes; l++)
            for (int64_t c = 0; c < d; c++) job->dq[at_q + l * ldq + c] = 0;
          continue;
        }
        attention_pack(job->q + at_q, ldq, lanes, d, NR, queries);
        attention_pack(job->dy + at_q, ldq, lanes, d, NR, dys);
        float scale = job->scale;
        SIMD for (int64_t e = 0; e < NR * d; e++) queries[e] *= scale;
        // Lanes without a query have no probability.
        for (int64_t l = 0; l < NR; l++) lse[l] = l < lanes ? job->lse[row + l] : INFINITY_F, delta[l] = l < lanes ? job->delta[row + l] : 0.f;
        attention_scores(job, keys, queries, i, lanes, j0, seen, s);
        for (int64_t j = 0; j < seen; j += MR) open_tile(MR, NV, d, values + j * d, 1, MR, dys, NR, t + j * NR, NR, 0);
        for (int64_t j = 0; j < seen; j++) {
          SIMD for (int l = 0; l < NR; l++) {
            float p = exp_below_88(s[j * NR + l] - lse[l]);
            s[j * NR + l] = p;
            t[j * NR + l] = p * (t[j * NR + l] - delta[l]);
          }
        }
        attention_from_columns(d, seen, job->k + at, ldk, t, dqs, 0);
        attention_unpack(dqs, lanes, d, factor, job->dq + at_q, ldq, j0 > 0);
        const float *query = attention_padded(job->q + at_q, &ld_query, lanes, d, padded, query_rows), *dy = attention_padded(job->dy + at_q, &ld_dy, lanes, d, padded, dy_rows);
        attention_from_panel(seen, lanes, s, dy, ld_dy, dvalues, padded);
        attention_from_panel(seen, lanes, t, query, ld_query, dkeys, padded);
      }
    for (int64_t j = 0; j < n; j++) {
      float *dk = job->dk + at + j * ldk, *dv = job->dv + at + j * ldk, scale = job->scale;
      SIMD for (int64_t c = 0; c < d; c++) dk[c] = dkeys[j * padded + c] * scale, dv[c] = dvalues[j * padded + c];
    }
  }
}

// attention_grad: q, k, v, bias?, y, lse, dy, dq, dk, dv, delta (working space, like lse), starts?
static int k_attention_grad(const args *a) {
  attention_job job = attention_arguments(a);
  job.y = FLOATS(4), job.lse = FLOATS(5), job.dy = FLOATS(6), job.dq = FLOATS(7), job.dk = FLOATS(8), job.dv = FLOATS(9), job.delta = FLOATS(10), job.starts = INTS(11);
  if (attention_key_block(job.dim) == 0) return 1;
  parallel(job.batch * job.heads, (double)job.batch * job.heads * job.tokens * job.dim / 4, attention_delta_head, &job);
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
