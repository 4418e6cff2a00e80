// RMSNorm, LayerNorm and GroupNorm with gradients. Input gradients and parameter gradients are separate kernels, so a frozen weight costs nothing.
#pragma once
#include "mathf.h"
#include "parallel.h"

// Parameter gradients are sums over rows: rows are cut into at most this many chunks, whose sums lie in the workspace and are added in order.
#define SUM_CHUNKS 32
typedef struct {
  const args *a;
  int64_t rows, step, width;
  void (*run)(const args *a, int64_t begin, int64_t end, float *sums);
} sum_job;

static void sum_chunk(void *context, int64_t chunk, int thread) {
  const sum_job *job = context;
  (void)thread;
  float *sums = workspace() + chunk * job->width;
  for (int64_t i = 0; i < job->width; i++) sums[i] = 0;
  job->run(job->a, chunk * job->step, min64(job->rows, (chunk + 1) * job->step), sums);
}

// Adds up `width` sums over rows. Returns the total in the workspace's first `width` floats.
static const float *parallel_sums(const args *a, int64_t rows, int64_t width, double cost, void (*run)(const args *, int64_t, int64_t, float *)) {
  int64_t chunks = max64(1, min64(min64(SUM_CHUNKS, WORKSPACE_FLOATS / max64(1, width)), ceil_div(rows, 16)));
  int64_t step = max64(1, ceil_div(rows, chunks));
  chunks = max64(1, ceil_div(rows, step));
  sum_job job = {a, rows, step, width, run};
  parallel(chunks, (double)rows * cost, sum_chunk, &job);
  float *total = workspace();
  for (int64_t c = 1; c < chunks; c++) {
    const float *part = total + c * width;
    SIMD for (int64_t i = 0; i < width; i++) total[i] += part[i];
  }
  return total;
}

// rms_norm: x, weight, y, rstd?; rows, dim, eps
static void rms_norm_rows(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1);
  const float *w = FLOATS(1);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + r * d;
    float *y = FLOATS(2) + r * d, s = 0;
    SIMD_SUM(s) for (int64_t i = 0; i < d; i++) s += x[i] * x[i];
    float rstd = 1.f / __builtin_sqrtf(s / (float)d + (float)a->n[2]);
    if (FLOATS(3)) FLOATS(3)[r] = rstd;
    SIMD for (int64_t i = 0; i < d; i++) y[i] = x[i] * rstd * w[i];
  }
}
static int k_rms_norm(const args *a) {
  parallel_rows(a, NUM(0), NUM(1), 1, rms_norm_rows);
  return 0;
}

// rms_norm_grad_input: x, weight, rstd, dy, dx, addend? like dx; rows, dim
static void rms_norm_grad_rows(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1);
  const float *w = FLOATS(1);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + r * d, *dy = FLOATS(3) + r * d;
    float *dx = FLOATS(4) + r * d, rstd = FLOATS(2)[r], s = 0;
    SIMD_SUM(s) for (int64_t i = 0; i < d; i++) s += dy[i] * w[i] * x[i];
    s *= rstd * rstd * rstd / (float)d;
    const float *addend = FLOATS(5) ? FLOATS(5) + r * d : 0;
    if (addend) {
      SIMD for (int64_t i = 0; i < d; i++) dx[i] = addend[i] + (rstd * dy[i] * w[i] - s * x[i]);
    } else {
      SIMD for (int64_t i = 0; i < d; i++) dx[i] = rstd * dy[i] * w[i] - s * x[i];
    }
  }
}
static int k_rms_norm_grad_input(const args *a) {
  parallel_rows(a, NUM(0), NUM(1), 1, rms_norm_grad_rows);
  return 0;
}

// rms_norm_grad_weight: x, rstd, dy, dweight; rows, dim
static void rms_norm_weight_rows(const args *a, int64_t begin, int64_t end, float *sums) {
  int64_t d = NUM(1);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + r * d, *dy = FLOATS(2) + r * d;
    float rstd = FLOATS(1)[r];
    SIMD for (int64_t i = 0; i < d; i++) sums[i] += dy[i] * x[i] * rstd;
  }
}
static int k_rms_norm_grad_weight(const args *a) {
  int64_t d = NUM(1);
  const float *sums = parallel_sums(a, NUM(0), d, (double)d, rms_norm_weight_rows);
  for (int64_t i = 0; i < d; i++) FLOATS(3)[i] = sums[i];
  return 0;
}

// layer_norm: x, weight, bias, y, mean?, rstd?; rows, dim, eps
static void layer_norm_rows(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1);
  const float *w = FLOATS(1), *b = FLOATS(2);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + r * d;
    float *y = FLOATS(3) + r * d, mean = 0, var = 0;
    SIMD_SUM(mean) for (int64_t i = 0; i < d; i++) mean += x[i];
    mean /= (float)d;
    SIMD_SUM(var) for (int64_t i = 0; i < d; i++) var += (x[i] - mean) * (x[i] - mean);
    float rstd = 1.f / __builtin_sqrtf(var / (float)d + (float)a->n[2]);
    if (FLOATS(4)) FLOATS(4)[r] = mean;
    if (FLOATS(5)) FLOATS(5)[r] = rstd;
    SIMD for (int64_t i = 0; i < d; i++) y[i] = (x[i] - mean) * rstd * w[i] + b[i];
  }
}
static int k_layer_norm(const args *a) {
  parallel_rows(a, NUM(0), NUM(1), 1, layer_norm_rows);
  return 0;
}

// layer_norm_grad_input: x, weight, mean, rstd, dy, dx, addend? like dx; rows, dim
static void layer_norm_grad_rows(const args *a, int64_t begin, int64_t end) {
  int64_t d = NUM(1);
  const float *w = FLOATS(1);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + r * d, *dy = FLOATS(4) + r * d;
    float *dx = FLOATS(5) + r * d, mean = FLOATS(2)[r], rstd = FLOATS(3)[r], s1 = 0, s2 = 0;
    SIMD_SUM(s1, s2) for (int64_t i = 0; i < d; i++) {
      float g = dy[i] * w[i];
      s1 += g;
      s2 += g * (x[i] - mean) * rstd;
    }
    s1 /= (float)d;
    s2 /= (float)d;
    const float *addend = FLOATS(6) ? FLOATS(6) + r * d : 0;
    if (addend) {
      SIMD for (int64_t i = 0; i < d; i++) dx[i] = addend[i] + rstd * (dy[i] * w[i] - s1 - (x[i] - mean) * rstd * s2);
    } else {
      SIMD for (int64_t i = 0; i < d; i++) dx[i] = rstd * (dy[i] * w[i] - s1 - (x[i] - mean) * rstd * s2);
    }
  }
}
static int k_layer_norm_grad_input(const args *a) {
  parallel_rows(a, NUM(0), NUM(1), 1, layer_norm_grad_rows);
  return 0;
}

// layer_norm_grad_params: x, mean, rstd, dy, dweight, dbias; rows, dim
static void layer_norm_params_rows(const args *a, int64_t begin, int64_t end, float *sums) {
  int64_t d = NUM(1);
  for (int64_t r = begin; r < end; r++) {
    const float *x = FLOATS(0) + r * d, *dy = FLOATS(3) + r * d;
    float mean = FLOATS(1)[r], rstd = FLOATS(2)[r];
    SIMD for (int64_t i = 0; i < d; i++) {
      sums[i] += dy[i] * (x[i] - mean) * rstd;
      sums[d + i] += dy[i];
    }
  }
}
static int k_layer_norm_grad_params(const args *a) {
  int64_t d = NUM(1);
  const float *sums = parallel_sums(a, NUM(0), 2 * d, 2.0 * (double)d, layer_norm_params_rows);
  for (int64_t i = 0; i < d; i++) FLOATS(4)[i] = sums[i], FLOATS(5)[i] = sums[d + i];
  return 0;
}

// GroupNorm works on one image at a time, or on chunks of positions where images are few: channel sums of a chunk go to the workspace.
#define GROUP_NORM_CHUNKS 16
typedef struct {
  const args *a;
  int64_t images, positions, channels, groups, step, chunks;
  const float *x, *weight, *bias, *mean, *rstd, *dy, *addend;
  float *y, *dx, *sums;  // sums: [images, chunks, 2, channels], then per-image coefficients [images, 2, channels]
  int silu;
} group_norm_job;

static group_norm_job group_norm_sizes(const args *a) {
  group_norm_job job = {.a = a, .images = NUM(0), .positions = NUM(1), .channels = NUM(2), .groups = NUM(3), .silu = (int)NUM(5), .sums = workspace()};
  job.step = max64(1, max64(ceil_div(job.positions, GROUP_NORM_CHUNKS), ELEMENT_CHUNK / 2 / max64(1, job.channels)));
  job.chunks = max64(1, ceil_div(job.positions, job.step));
  return job;
}
static float *group_norm_partial(const group_norm_job *job, int64_t chunk) { return job->sums + chunk * 2 * job->channels; }
static float *group_norm_coefficients(const group_norm_job *job, int64_t image) { return job->sums + (job->images * job->chunks + image) * 2 * job->channels; }
static int group_norm_fits(const group_norm_job *job) { return job->images * (job->chunks + 1) * 2 * job->channels <= WORKSPACE_FLOATS && 3 * job->channels <= SCRATCH_FLOATS; }

static void group_norm_range(const group_norm_job *job, int64_t chunk, int64_t *image, int64_t *begin, int64_t *end) {
  *image = chunk / job->chunks;
  *begin = *image * job->positions + chunk % job->chunks * job->step;
  *end = min64((*image + 1) * job->positions, *begin + job->step);
}

static void group_norm_sum(void *context, int64_t chunk, int thread) {
  const group_norm_job *job = context;
  int64_t image, begin, end, c = job->channels;
  (void)thread;
  group_norm_range(job, chunk, &image, &begin, &end);
  float *sum = group_norm_partial(job, chunk);
  for (int64_t i = 0; i < c; i++) sum[i] = 0;
  for (int64_t r = begin; r < end; r++) {
    const float *x = job->x + r * c;
    SIMD for (int64_t i = 0; i < c; i++) sum[i] += x[i];
  }
}

// Squares around the group's mean, which stands in the coefficients.
static void group_norm_square(void *context, int64_t chunk, int thread) {
  const group_norm_job *job = context;
  int64_t image, begin, end, c = job->channels;
  (void)thread;
  group_norm_range(job, chunk, &image, &begin, &end);
  float *sum = group_norm_partial(job, chunk);
  const float *mean = group_norm_coefficients(job, image);
  for (int64_t i = 0; i < c; i++) sum[i] = 0;
  for (int64_t r = begin; r < end; r++) {
    const float *x = job->x + r * c;
    SIMD for (int64_t i = 0; i < c; i++) sum[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
  }
}

static void group_norm_apply(void *context, int64_t chunk, int thread) {
  const group_norm_job *job = context;
  int64_t image, begin, end, c = job->channels;
  (void)thread;
  group_norm_range(job, chunk, &image, &begin, &end);
  const float *scale = group_norm_coefficients(job, image), *shift = scale + c;
  for (int64_t r = begin; r < end; r++) {
    const float *x = job->x + r * c;
    float *y = job->y + r * c;
    if (job->silu) {
      SIMD for (int64_t i = 0; i < c; i++) {
        float z = x[i] * scale[i] + shift[i];
        y[i] = z * sigmoid_f(z);
      }
    } else {
      SIMD for (int64_t i = 0; i < c; i++) y[i] = x[i] * scale[i] + shift[i];
    }
  }
}

// Per image and group, the mean over its channels and chunks of the partial sums at `offset`.
static double group_norm_mean(const group_norm_job *job, int64_t image, int64_t group, int64_t offset, const float *weight) {
  int64_t width = job->channels / job->groups;
  double total = 0;
  for (int64_t k = 0; k < job->chunks; k++) {
    const float *sum = group_norm_partial(job, image * job->chunks + k) + offset;
    for (int64_t i = group * width; i < (group + 1) * width; i++) total += weight ? (double)sum[i] * weight[i] : sum[i];
  }
  return total / (double)(width * job->positions);
}

// group_norm: x, weight, bias, y, mean?, rstd?; images, positions, channels, groups, eps, silu
static int k_group_norm(const args *a) {
  group_norm_job job = group_norm_sizes(a);
  job.x = FLOATS(0), job.weight = FLOATS(1), job.bias = FLOATS(2), job.y = FLOATS(3);
  if (!group_norm_fits(&job)) return 2;
  float *mean = FLOATS(4), *rstd = FLOATS(5);
  int64_t width = job.channels / job.groups, chunks = job.images * job.chunks;
  double work = (double)job.images * (double)job.positions * (double)job.channels;
  parallel(chunks, work, group_norm_sum, &job);
  for (int64_t n = 0; n < job.images; n++)
    for (int64_t g = 0; g < job.groups; g++) {
      float m = (float)group_norm_mean(&job, n, g, 0, 0);
      if (mean) mean[n * job.groups + g] = m;
      for (int64_t i = g * width; i < (g + 1) * width; i++) group_norm_coefficients(&job, n)[i] = m;
    }
  parallel(chunks, work, group_norm_square, &job);
  for (int64_t n = 0; n < job.images; n++)
    for (int64_t g = 0; g < job.groups; g++) {
      float *scale = group_norm_coefficients(&job, n), *shift = scale + job.channels;
      float m = width ? scale[g * width] : 0, r = (float)(1 / __builtin_sqrt(group_norm_mean(&job, n, g, 0, 0) + a->n[4]));
      if (rstd) rstd[n * job.groups + g] = r;
      for (int64_t i = g * width; i < (g + 1) * width; i++) scale[i] = r * job.weight[i], shift[i] = job.bias[i] - m * r * job.weight[i];
    }
  parallel(chunks, work * (job.silu ? 4 : 1), group_norm_apply, &job);
  return 0;
}

// Per-channel coefficients of one image for the backward pass, in scratch: normal = x * scale + shift, affine = normal * weight + bias.
static void group_norm_normal(const group_norm_job *job, int64_t image, float *scale, float *shift) {
  int64_t width = job->channels / job->groups;
  for (int64_t i = 0; i < job->channels; i++) {
    float r = job->rstd[image * job->groups + i / width];
    scale[i] = r, shift[i] = -job->mean[image * job->groups + i / width] * r;
  }
}

// Channel sums of a chunk: gradient at the affine value (before SiLU), and that times the normalised input. Keeps the gradient in dx, if any.
static void group_norm_grad_sum(void *context, int64_t chunk, int thread) {
  const group_norm_job *job = context;
  int64_t image, begin, end, c = job->channels;
  group_norm_range(job, chunk, &image, &begin, &end);
  float *s1 = group_norm_partial(job, chunk), *s2 = s1 + c, *scale = scratch(thread), *shift = scale + c, *row = shift + c;
  const float *w = job->weight, *b = job->bias;
  group_norm_normal(job, image, scale, shift);
  for (int64_t i = 0; i < 2 * c; i++) s1[i] = 0;
  for (int64_t r = begin; r < end; r++) {
    const float *x = job->x + r * c, *dy = job->dy + r * c;
    float *d = job->dx ? job->dx + r * c : row;
    if (job->silu) {
      SIMD for (int64_t i = 0; i < c; i++) {
        float normal = x[i] * scale[i] + shift[i], g = dy[i] * act_grad_f(SILU, normal * w[i] + b[i]);
        d[i] = g;
        s1[i] += g;
        s2[i] += g * normal;
      }
    } else {
      SIMD for (int64_t i = 0; i < c; i++) {
        float normal = x[i] * scale[i] + shift[i], g = dy[i];
        d[i] = g;
        s1[i] += g;
        s2[i] += g * normal;
      }
    }
  }
}

static void group_norm_grad_apply(void *context, int64_t chunk, int thread) {
  const group_norm_job *job = context;
  int64_t image, begin, end, c = job->channels;
  group_norm_range(job, chunk, &image, &begin, &end);
  const float *m1 = group_norm_coefficients(job, image), *m2 = m1 + c, *w = job->weight;
  float *scale = scratch(thread), *shift = scale + c;
  group_norm_normal(job, image, scale, shift);
  for (int64_t r = begin; r < end; r++) {
    const float *x = job->x + r * c;
    float *dx = job->dx + r * c;
    const float *addend = job->addend ? job->addend + r * c : 0;
    if (addend) {
      SIMD for (int64_t i = 0; i < c; i++) dx[i] = addend[i] + scale[i] * (dx[i] * w[i] - m1[i] - (x[i] * scale[i] + shift[i]) * m2[i]);
    } else {
      SIMD for (int64_t i = 0; i < c; i++) dx[i] = scale[i] * (dx[i] * w[i] - m1[i] - (x[i] * scale[i] + shift[i]) * m2[i]);
    }
  }
}

// group_norm_grad_input: x, weight, bias, mean, rstd, dy, dx, addend? like dx; images, positions, channels, groups, -, silu
static int k_group_norm_grad_input(const args *a) {
  group_norm_job job = group_norm_sizes(a);
  job.x = FLOATS(0), job.weight = FLOATS(1), job.bias = FLOATS(2), job.mean = FLOATS(3), job.rstd = FLOATS(4), job.dy = FLOATS(5), job.dx = FLOATS(6), job.addend = FLOATS(7);
  if (!group_norm_fits(&job)) return 2;
  int64_t width = job.channels / job.groups;
  double work = (double)job.images * (double)job.positions * (double)job.channels;
  parallel(job.images * job.chunks, work * (job.silu ? 4 : 1), group_norm_grad_sum, &job);
  for (int64_t n = 0; n < job.images; n++)
    for (int64_t g = 0; g < job.groups; g++) {
      float m1 = (float)group_norm_mean(&job, n, g, 0, job.weight), m2 = (float)group_norm_mean(&job, n, g, job.channels, job.weight);
      float *out = group_norm_coefficients(&job, n);
      for (int64_t i = g * width; i < (g + 1) * width; i++) out[i] = m1, out[job.channels + i] = m2;
    }
  parallel(job.images * job.chunks, work, group_norm_grad_apply, &job);
  return 0;
}

// group_norm_grad_params: x, weight, bias, mean, rstd, dy, dweight, dbias; as above
static int k_group_norm_grad_params(const args *a) {
  group_norm_job job = group_norm_sizes(a);
  job.x = FLOATS(0), job.weight = FLOATS(1), job.bias = FLOATS(2), job.mean = FLOATS(3), job.rstd = FLOATS(4), job.dy = FLOATS(5);
  if (!group_norm_fits(&job)) return 2;
  int64_t c = job.channels;
  float *dw = FLOATS(6), *db = FLOATS(7);
  parallel(job.images * job.chunks, (double)job.images * (double)job.positions * (double)c * (job.silu ? 4 : 1), group_norm_grad_sum, &job);
  for (int64_t i = 0; i < c; i++) dw[i] = 0, db[i] = 0;
  for (int64_t k = 0; k < job.images * job.chunks; k++) {
    const float *sum = group_norm_partial(&job, k);
    for (int64_t i = 0; i < c; i++) db[i] += sum[i], dw[i] += sum[c + i];
  }
  return 0;
}
