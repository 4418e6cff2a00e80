// Pooling and resizing of images, channels last.
#pragma once
#include "mathf.h"
#include "parallel.h"

// pool: x, y; images, height, width, channels, outHeight, outWidth, kh, kw, strideY, strideX, top, left, mean: maximum (NaN wins), or the mean of
// the pixels inside of the image
static void pool_rows(const args *a, int64_t begin, int64_t end) {
  int64_t h = NUM(1), w = NUM(2), c = NUM(3), oh = NUM(4), ow = NUM(5), kh = NUM(6), kw = NUM(7);
  int mean = NUM(12) != 0;
  for (int64_t z = begin; z < end; z++) {
    int64_t image = z / oh, y0 = z % oh * NUM(8) - NUM(10), y1 = min64(h, y0 + kh);
    y0 = max64(0, y0);
    for (int64_t ox = 0; ox < ow; ox++) {
      int64_t x0 = ox * NUM(9) - NUM(11), x1 = min64(w, x0 + kw);
      x0 = max64(0, x0);
      float *out = FLOATS(1) + (z * ow + ox) * c;
      for (int64_t i = 0; i < c; i++) out[i] = mean ? 0 : -INFINITY_F;
      for (int64_t y = y0; y < y1; y++)
        for (int64_t x = x0; x < x1; x++) {
          const float *in = FLOATS(0) + ((image * h + y) * w + x) * c;
          if (mean) {
            SIMD for (int64_t i = 0; i < c; i++) out[i] += in[i];
          } else {
            SIMD for (int64_t i = 0; i < c; i++) out[i] = in[i] > out[i] || in[i] != in[i] ? in[i] : out[i];
          }
        }
      if (mean) {
        float share = 1.f / (float)max64(1, (y1 - y0) * (x1 - x0));
        for (int64_t i = 0; i < c; i++) out[i] *= share;
      }
    }
  }
}
static int k_pool(const args *a) {
  parallel_rows(a, NUM(0) * NUM(4), NUM(5) * NUM(3), (double)(NUM(6) * NUM(7)), pool_rows);
  return 0;
}

// resize_bilinear: x, y; images, height, width, channels, outHeight, outWidth, scaleY, scaleX, halfPixelCenters
static void resize_rows(const args *a, int64_t begin, int64_t end) {
  int64_t h = NUM(1), w = NUM(2), c = NUM(3), oh = NUM(4), ow = NUM(5);
  double half = a->n[8] != 0 ? 0.5 : 0;
  for (int64_t z = begin; z < end; z++) {
    double sy = ((double)(z % oh) + half) * a->n[6] - half;
    int64_t top = max64(0, (int64_t)__builtin_floor(sy)), bottom = min64(h - 1, (int64_t)__builtin_ceil(sy));
    float fy = (float)(sy - (double)top);
    const float *image = FLOATS(0) + z / oh * h * w * c;
    for (int64_t ox = 0; ox < ow; ox++) {
      double sx = ((double)ox + half) * a->n[7] - half;
      int64_t left = max64(0, (int64_t)__builtin_floor(sx)), right = min64(w - 1, (int64_t)__builtin_ceil(sx));
      float fx = (float)(sx - (double)left);
      const float *p = image + (top * w + left) * c, *q = image + (top * w + right) * c, *r = image + (bottom * w + left) * c, *s = image + (bottom * w + right) * c;
      float *out = FLOATS(1) + (z * ow + ox) * c;
      SIMD for (int64_t i = 0; i < c; i++) {
        float above = p[i] + (q[i] - p[i]) * fx, below = r[i] + (s[i] - r[i]) * fx;
        out[i] = above + (below - above) * fy;
      }
    }
  }
}
static int k_resize_bilinear(const args *a) {
  parallel_rows(a, NUM(0) * NUM(4), NUM(5) * NUM(3), 2, resize_rows);
  return 0;
}
