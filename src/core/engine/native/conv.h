// Convolution as an implicit matrix product: packing reads the image itself, so no column matrix exists. Channels are last.
#pragma once
#include "winograd.h"

#define MAX_TAPS 1024

// Position (y, x) of the row grid and tap t read source pixel (y * stride + dy[t], x * stride + dx[t]), or zero outside the image.
typedef struct {
  const float *image;
  int64_t height, width, channels;  // of the source
  int64_t grid_height, grid_width;  // of the rows
  int64_t stride;
  int taps;
  int16_t dy[MAX_TAPS], dx[MAX_TAPS], index[MAX_TAPS];
  // Input gradient: rows go to every `step`-th pixel from (top, left) of an output image.
  int64_t step, top, left, out_width, out_image;
} conv_view;

static const float zeros[KC] = {0};

// Where a row stands on its grid, moved along without divisions.
typedef struct { int64_t image; int32_t y, x; } conv_place;

static inline conv_place conv_find(const conv_view *v, int64_t row) {
  int64_t per_image = v->grid_height * v->grid_width, rest = row % per_image;
  return (conv_place){row / per_image * v->height, (int32_t)(rest / v->grid_width), (int32_t)(rest % v->grid_width)};
}
static inline void conv_advance(const conv_view *v, conv_place *at) {
  if (++at->x < v->grid_width) return;
  at->x = 0;
  if (++at->y < v->grid_height) return;
  at->y = 0;
  at->image += v->height;
}
static inline const float *conv_pixel(const conv_view *v, conv_place at, int tap) {
  int64_t y = at.y * v->stride + v->dy[tap], x = at.x * v->stride + v->dx[tap];
  if ((uint64_t)y >= (uint64_t)v->height || (uint64_t)x >= (uint64_t)v->width) return 0;
  return v->image + ((at.image + y) * v->width + x) * v->channels;
}

// Rows are pixels, k runs over (tap, channel).
static void pack_conv_rows(const gemm *g, int64_t first, int count, int64_t k0, int kc, float *out) {
  const conv_view *v = g->context;
  const float *rows[MR];
  conv_place places[MR], at = conv_find(v, first);
  for (; count > 0; count -= MR, out += (int64_t)MR * kc) {
    int height = (int)min64(MR, count);
    for (int i = 0; i < height; i++, conv_advance(v, &at)) places[i] = at;
    int tap = (int)(k0 / v->channels);
    int64_t channel = k0 % v->channels;
    for (int q = 0; q < kc; tap++, channel = 0) {
      int length = (int)min64(kc - q, v->channels - channel);
      for (int i = 0; i < height; i++) {
        const float *pixel = conv_pixel(v, places[i], tap);
        rows[i] = pixel ? pixel + channel : zeros;
      }
      pack_transposed(rows, height, MR, length, out + (int64_t)q * MR);
      q += length;
    }
  }
}

// Rows are (tap, channel), k runs over pixels. Panel by panel: spreading a pixel over all panels at once writes to too many places.
static void pack_conv_taps(const gemm *g, int64_t first, int count, int64_t k0, int kc, float *out) {
  const conv_view *v = g->context;
  conv_place start = conv_find(v, k0);
  for (; count > 0; count -= MR, first += MR, out += (int64_t)MR * kc) {
    int height = (int)min64(MR, count);
    for (int i = 0; i < height;) {
      int tap = (int)((first + i) / v->channels);
      int64_t channel = (first + i) % v->channels;
      int length = (int)min64(height - i, v->channels - channel);
      conv_place at = start;
      float *o = out + i;
      for (int q = 0; q < kc; q++, o += MR, conv_advance(v, &at)) {
        const float *pixel = conv_pixel(v, at, tap), *from = pixel ? pixel + channel : zeros;
        int c = 0;
        for (; c + 4 <= length; c += 4) *(v4f *)(o + c) = *(const v4f *)(from + c);
        for (; c < length; c++) o[c] = from[c];
      }
      i += length;
    }
    if (height < MR)
      for (int q = 0; q < kc; q++)
        for (int i = height; i < MR; i++) out[(int64_t)q * MR + i] = 0;
  }
}

// Filter [kh, kw, in, out] read with the output channels along k: columns are input channels.
static void pack_conv_filter(const gemm *g, int64_t first, int count, int64_t k0, int kc, float *out) {
  const conv_view *v = g->context;
  const float *rows[NR];
  for (int q = 0; q < kc;) {
    int tap = (int)((k0 + q) / v->channels);
    int64_t channel = (k0 + q) % v->channels;
    int length = (int)min64(kc - q, v->channels - channel);
    for (int i = 0; i < count; i++) rows[i] = g->b + ((int64_t)v->index[tap] * g->n + first + i) * v->channels + channel;
    pack_transposed(rows, count, NR, length, out + (int64_t)q * NR);
    q += length;
  }
}

static void conv_scatter_rows(const gemm *g, int64_t first, int count, float **out) {
  const conv_view *v = g->context;
  int64_t per_image = v->grid_height * v->grid_width;
  for (int i = 0; i < count; i++) {
    int64_t image = (first + i) / per_image, rest = (first + i) % per_image;
    int64_t y = rest / v->grid_width * v->step + v->top, x = rest % v->grid_width * v->step + v->left;
    out[i] = g->c + ((image * v->out_image) + y * v->out_width + x) * g->ldc;
  }
}

// The sizes of a convolution: images, height, width, in, outHeight, outWidth, out, kh, kw, stride, top, left
typedef struct { int64_t images, height, width, in, out_height, out_width, out, kh, kw, stride, top, left; } conv_size;
static conv_size conv_sizes(const args *a) {
  return (conv_size){NUM(0), NUM(1), NUM(2), NUM(3), NUM(4), NUM(5), NUM(6), NUM(7), NUM(8), NUM(9), NUM(10), NUM(11)};
}

static void conv_forward_view(conv_view *v, const conv_size *s, const float *x) {
  *v = (conv_view){.image = x, .height = s->height, .width = s->width, .channels = s->in, .grid_height = s->out_height, .grid_width = s->out_width,
                   .stride = s->stride, .taps = (int)(s->kh * s->kw)};
  for (int t = 0; t < v->taps; t++) v->dy[t] = (int16_t)(t / s->kw - s->top), v->dx[t] = (int16_t)(t % s->kw - s->left);
}

static int is_pointwise(const conv_size *s) { return s->kh == 1 && s->kw == 1 && s->stride == 1 && s->top == 0 && s->left == 0 && s->out_height == s->height && s->out_width == s->width; }

// The filters that winograd.h takes, and what it needs to know of sizes.
static int is_winograd(const conv_size *s) { return winograd_fits(s->kh, s->kw, s->stride, s->in, s->out); }
static winograd winograd_of(const conv_size *s, const float *image) {
  return (winograd){.image = image, .images = s->images, .height = s->height, .width = s->width, .channels = s->in, .out_height = s->out_height, .out_width = s->out_width, .out = s->out,
                    .top = s->top, .left = s->left};
}

// conv: x, filter [kh, kw, in, out], y, bias?, addend? like y; sizes
static int k_conv(const args *a) {
  conv_size s = conv_sizes(a);
  if (s.kh * s.kw > MAX_TAPS) return 1;
  if (is_winograd(&s)) {
    winograd w = winograd_of(&s, FLOATS(0));
    w.filter = FLOATS(1), w.y = FLOATS(2), w.bias = FLOATS(3), w.addend = FLOATS(4);
    winograd_conv(&w);
    return 0;
  }
  conv_view v;
  conv_forward_view(&v, &s, FLOATS(0));
  gemm g = {.a = FLOATS(0), .b = FLOATS(1), .c = FLOATS(2), .bias = FLOATS(3), .addend = FLOATS(4), .m = s.images * s.out_height * s.out_width, .n = s.out, .k = s.kh * s.kw * s.in,
            .lda = s.in, .ldb = s.out, .ldc = s.out, .pack_a = is_pointwise(&s) ? 0 : pack_conv_rows, .context = &v};
  gemm_parallel(&g);
  return 0;
}

// conv_grad_filter: x, dy, dfilter; sizes
static int k_conv_grad_filter(const args *a) {
  conv_size s = conv_sizes(a);
  if (s.kh * s.kw > MAX_TAPS) return 1;
  if (is_winograd(&s)) {
    winograd w = winograd_of(&s, FLOATS(0));
    w.y = FLOATS(1);
    winograd_grad_filter(&w, FLOATS(2));
    return 0;
  }
  conv_view v;
  conv_forward_view(&v, &s, FLOATS(0));
  gemm g = {.a = FLOATS(0), .b = FLOATS(1), .c = FLOATS(2), .m = s.kh * s.kw * s.in, .n = s.out, .k = s.images * s.out_height * s.out_width,
            .lda = s.in, .ldb = s.out, .ldc = s.out, .ta = 1, .pack_a = is_pointwise(&s) ? 0 : pack_conv_taps, .context = &v};
  gemm_parallel(&g);
  return 0;
}

// conv_grad_input: dy, filter, dx, addend? like dx; sizes. Input pixels are handled by their position modulo the stride, since each class sees its own taps.
static int k_conv_grad_input(const args *a) {
  conv_size s = conv_sizes(a);
  if (s.kh * s.kw > MAX_TAPS) return 1;
  if (is_winograd(&s)) {
    conv_size back = {s.images, s.out_height, s.out_width, s.out, s.height, s.width, s.in, s.kh, s.kw, s.stride, 2 - s.top, 2 - s.left};
    winograd w = winograd_of(&back, FLOATS(0));
    w.filter = FLOATS(1), w.flipped = 1, w.y = FLOATS(2), w.addend = FLOATS(3);
    winograd_conv(&w);
    return 0;
  }
  for (int64_t py = 0; py < min64(s.stride, s.height); py++)
    for (int64_t px = 0; px < min64(s.stride, s.width); px++) {
      conv_view v = {.image = FLOATS(0), .height = s.out_height, .width = s.out_width, .channels = s.out, .grid_height = ceil_div(s.height - py, s.stride),
                     .grid_width = ceil_div(s.width - px, s.stride), .stride = 1, .step = s.stride, .top = py, .left = px, .out_width = s.width, .out_image = s.height * s.width};
      for (int64_t ky = 0; ky < s.kh; ky++)
        for (int64_t kx = 0; kx < s.kw; kx++) {
          int64_t y = py + s.top - ky, x = px + s.left - kx;
          if (y % s.stride || x % s.stride) continue;
          v.dy[v.taps] = (int16_t)(y / s.stride);
          v.dx[v.taps] = (int16_t)(x / s.stride);
          v.index[v.taps++] = (int16_t)(ky * s.kw + kx);
        }
      gemm g = {.a = FLOATS(0), .b = FLOATS(1), .c = FLOATS(2), .addend = FLOATS(3), .m = s.images * v.grid_height * v.grid_width, .n = s.in, .k = v.taps * s.out, .lda = s.out,
                .ldb = s.out, .ldc = s.in, .tb = 1, .context = &v};
      if (!is_pointwise(&s)) g.pack_a = pack_conv_rows, g.pack_b = pack_conv_filter, g.rows = conv_scatter_rows;
      gemm_parallel(&g);
    }
  return 0;
}
