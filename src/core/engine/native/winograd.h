// Convolutions by 3 x 3 filters at stride 1 with 16 products in place of 36: Winograd's minimal filtering F(2 x 2, 3 x 3), after Lavin and Gray 2016.
// Tiles of 4 x 4 pixels and the filters are transformed, multiplied position by position (16 matrix products over the channels), and transformed back to
// tiles of 2 x 2. The transforms add and halve, so rounding errors stay those of the direct sum; an infinity reaches the whole of its tile as NaN.
#pragma once
#include "gemm.h"

#define POSITIONS 16
// Elements between the matrices of two positions beyond their size. Without it the 16 places a transform writes to share a cache set.
#define APART 16

typedef struct {
  const float *image;                           // [images, height, width, channels]
  int64_t images, height, width, channels;
  int64_t out_height, out_width, out, top, left;  // of what the filter gives; zeros above and left of the image
  const float *filter, *bias, *addend;          // filter [3, 3, channels, out]; bias [out] and addend (like y) may be null
  int flipped;                                  // the filter is [3, 3, out, channels] and read from its end: the gradient of the input
  float *y;
  int64_t tiles_x, tiles_y, tiles;
  int64_t slice, slices;                        // output channels a chunk
  int64_t group, block;                         // tiles a chunk, and how many of them at a time
  float *filters;                               // transformed once for all chunks, or null: by each chunk for its slice
} winograd;

static inline __attribute__((always_inline)) vf load_some(const float *p, int64_t n) {
  if (n >= VL) return *(const vf *)p;
  float lanes[VL] = {0};
  for (int64_t l = 0; l < n; l++) lanes[l] = p[l];
  return *(const vf *)lanes;
}
static inline __attribute__((always_inline)) void store_some(float *p, vf v, int64_t n) {
  if (n >= VL) put(p, v);
  else for (int64_t l = 0; l < n; l++) p[l] = v[l];
}

static void winograd_tiles(winograd *w) {
  w->tiles_y = ceil_div(w->out_height, 2);
  w->tiles_x = ceil_div(w->out_width, 2);
  w->tiles = w->images * w->tiles_y * w->tiles_x;
}

// The image of a tile and the first of its pixels of y.
typedef struct { int64_t image, y, x; } winograd_place;
static inline winograd_place winograd_find(const winograd *w, int64_t tile) {
  int64_t per_image = w->tiles_y * w->tiles_x, rest = tile % per_image;
  return (winograd_place){tile / per_image, rest / w->tiles_x * 2, rest % w->tiles_x * 2};
}
static inline int64_t winograd_pixel(const winograd *w, winograd_place at) { return ((at.image * w->out_height + at.y) * w->out_width + at.x) * w->out; }

// out[position * stride + channel] of one tile of the image, of `count` channels from `from`; `none`, zeros, stands for pixels outside.
static void winograd_image_tile(const winograd *w, int64_t tile, int64_t from, int64_t count, const float *none, float *restrict out, int64_t stride) {
  winograd_place at = winograd_find(w, tile);
  int64_t y = at.y - w->top, x = at.x - w->left;
  const float *pixels[POSITIONS];
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      int inside = (uint64_t)(y + i) < (uint64_t)w->height && (uint64_t)(x + j) < (uint64_t)w->width;
      pixels[i * 4 + j] = inside ? w->image + ((at.image * w->height + y + i) * w->width + x + j) * w->channels + from : none;
    }
  for (int64_t c = 0; c < count; c += VL) {
    int64_t n = count - c;
    vf t[4][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      vf d0 = load_some(pixels[j] + c, n), d1 = load_some(pixels[4 + j] + c, n), d2 = load_some(pixels[8 + j] + c, n), d3 = load_some(pixels[12 + j] + c, n);
      t[0][j] = d0 - d2, t[1][j] = d1 + d2, t[2][j] = d2 - d1, t[3][j] = d1 - d3;
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      float *o = out + i * 4 * stride + c;
      put(o, t[i][0] - t[i][2]);
      put(o + stride, t[i][1] + t[i][2]);
      put(o + 2 * stride, t[i][2] - t[i][1]);
      put(o + 3 * stride, t[i][1] - t[i][3]);
    }
  }
}

// From the products of one tile, `stride` apart, to `count` channels from `from` of its pixels of y.
static void winograd_result_tile(const winograd *w, int64_t tile, int64_t from, int64_t count, const float *restrict products, int64_t stride) {
  winograd_place at = winograd_find(w, tile);
  int64_t first = winograd_pixel(w, at) + from, rows = min64(2, w->out_height - at.y), columns = min64(2, w->out_width - at.x);
  for (int64_t c = 0; c < count; c += VL) {
    int64_t n = count - c;
    vf s[2][4], bias = w->bias ? load_some(w->bias + from + c, n) : (vf){0};
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const float *m = products + j * stride + c;
      vf m0 = *(const vf *)m, m1 = *(const vf *)(m + 4 * stride), m2 = *(const vf *)(m + 8 * stride), m3 = *(const vf *)(m + 12 * stride);
      s[0][j] = m0 + m1 + m2, s[1][j] = m1 - m2 - m3;
    }
    for (int i = 0; i < rows; i++) {
      vf pair[2] = {s[i][0] + s[i][1] + s[i][2] + bias, s[i][1] - s[i][2] - s[i][3] + bias};
      for (int j = 0; j < columns; j++) {
        int64_t place = first + (i * w->out_width + j) * w->out + c;
        if (w->addend) pair[j] += load_some(w->addend + place, n);
        store_some(w->y + place, pair[j], n);
      }
    }
  }
}

// A filter of 3 x 3 at 16 positions.
static inline __attribute__((always_inline)) void winograd_filter_tile(const vf g[9], vf u[POSITIONS]) {
  vf t[4][3];
#pragma GCC unroll 3
  for (int j = 0; j < 3; j++) {
    vf ends = (g[j] + g[6 + j]) * 0.5f, middle = g[3 + j] * 0.5f;
    t[0][j] = g[j], t[1][j] = ends + middle, t[2][j] = ends - middle, t[3][j] = g[6 + j];
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    vf ends = (t[i][0] + t[i][2]) * 0.5f, middle = t[i][1] * 0.5f;
    u[i * 4] = t[i][0], u[i * 4 + 1] = ends + middle, u[i * 4 + 2] = ends - middle, u[i * 4 + 3] = t[i][2];
  }
}

#define FILTER_ROWS 32

// Filters from `rows` (at most FILTER_ROWS) channels to `columns` output channels, transformed, as panels for the register tile:
// out[position * apart + channel * NR + column]. `turned` has room for POSITIONS * NR * FILTER_ROWS elements.
static void winograd_filters(const winograd *w, int64_t channel, int64_t rows, int64_t first, int64_t columns, float *turned, float *out, int64_t apart) {
  int64_t tap = w->channels * w->out;
  vf g[9], u[POSITIONS];
  if (!w->flipped) {
    for (int64_t c = 0; c < rows; c++)
      for (int64_t j = 0; j < NR; j += VL) {
        const float *f = w->filter + (channel + c) * w->out + first + j;
#pragma GCC unroll 9
        for (int t = 0; t < 9; t++) g[t] = j < columns ? load_some(f + t * tap, columns - j) : (vf){0};
        winograd_filter_tile(g, u);
#pragma GCC unroll 16
        for (int p = 0; p < POSITIONS; p++) put(out + p * apart + c * NR + j, u[p]);
      }
    return;
  }
  // Neighbours in memory run along the channels, which are the panel's rows: transformed as they lie, then turned.
  for (int64_t j = 0; j < columns; j++)
    for (int64_t c = 0; c < rows; c += VL) {
      const float *f = w->filter + (first + j) * w->channels + channel + c;
#pragma GCC unroll 9
      for (int t = 0; t < 9; t++) g[t] = load_some(f + (8 - t) * tap, rows - c);
      winograd_filter_tile(g, u);
#pragma GCC unroll 16
      for (int p = 0; p < POSITIONS; p++) put(turned + (p * NR + j) * FILTER_ROWS + c, u[p]);
    }
  for (int p = 0; p < POSITIONS; p++) {
    const float *lines[NR];
    for (int64_t j = 0; j < columns; j++) lines[j] = turned + (p * NR + j) * FILTER_ROWS;
    pack_transposed(lines, (int)columns, NR, (int)rows, out + p * apart);
  }
}

// Elements between the positions of the filters to `count` output channels.
static inline int64_t winograd_filters_apart(const winograd *w, int64_t count) { return round_up(count, NR) * w->channels + APART; }

// A chunk is FILTER_ROWS channels of a panel.
static void winograd_filters_chunk(void *context, int64_t chunk, int thread) {
  const winograd *w = context;
  int64_t panels = ceil_div(w->out, NR), panel = chunk % panels, channel = chunk / panels * FILTER_ROWS;
  winograd_filters(w, channel, min64(FILTER_ROWS, w->channels - channel), panel * NR, min64(NR, w->out - panel * NR), scratch(thread), w->filters + (panel * w->channels + channel) * NR,
                   winograd_filters_apart(w, w->out));
}

static void winograd_chunk(void *context, int64_t chunk, int thread) {
  const winograd *w = context;
  int64_t from = chunk % w->slices * w->slice, count = min64(w->slice, w->out - from), first = chunk / w->slices * w->group, last = min64(w->tiles, first + w->group);
  int64_t channels = round_up(w->channels, VL), columns = round_up(count, NR), panel = w->channels * NR;
  int64_t apart = w->block * channels + APART, products_apart = w->block * columns + APART, filters_apart = winograd_filters_apart(w, w->filters ? w->out : count);
  float *none = scratch(thread), *image = none + channels, *products = image + POSITIONS * apart, *own = products + POSITIONS * products_apart, *turned = own + POSITIONS * filters_apart;
  const float *filters = own;
  if (w->filters) filters = w->filters + from * w->channels;
  else
    for (int64_t j = 0; j < columns; j += NR)
      for (int64_t c = 0; c < w->channels; c += FILTER_ROWS)
        winograd_filters(w, c, min64(FILTER_ROWS, w->channels - c), from + j, min64(NR, count - j), turned, own + j / NR * panel + c * NR, filters_apart);
  for (int64_t c = 0; c < channels; c++) none[c] = 0;
  for (int64_t t = first; t < last; t += w->block) {
    int64_t tiles = min64(w->block, last - t);
    for (int64_t i = 0; i < tiles; i++) winograd_image_tile(w, t + i, 0, w->channels, none, image + i * channels, apart);
    for (int p = 0; p < POSITIONS; p++)
      for (int64_t j = 0; j < columns; j += NR)
        open_product(NV, tiles, w->channels, image + p * apart, channels, 1, filters + p * filters_apart + j / NR * panel, NR, products + p * products_apart + j, columns, 0);
    for (int64_t i = 0; i < tiles; i++) winograd_result_tile(w, t + i, from, count, products + i * columns, products_apart);
  }
}

// Elements of tiles and products that a chunk works on at a time, and of filters of its own: each a quarter of a core's second-level cache of 1 MiB.
#define WINOGRAD_BLOCK (1 << 16)
// Below, transforms cost more than the products they save; above, tiles leave no room in the scratch memory.
#define WINOGRAD_LEAST 16
#define WINOGRAD_MOST 1024

static int winograd_fits(int64_t kh, int64_t kw, int64_t stride, int64_t channels, int64_t out) {
  int64_t less = min64(channels, out), more = max64(channels, out);
  return kh == 3 && kw == 3 && stride == 1 && less >= WINOGRAD_LEAST && more <= WINOGRAD_MOST && POSITIONS * (round_up(less, NR) * round_up(more, NR) + APART) <= WORKSPACE_FLOATS;
}

static void winograd_conv(winograd *w) {
  winograd_tiles(w);
  if (w->tiles == 0) return;
  // Neither slices nor groups change a sum, so they may follow the number of threads.
  int64_t own = WINOGRAD_BLOCK / POSITIONS / w->channels / NR * NR, threads = pool.threads;
  if (own && w->tiles <= 2 * w->out && ceil_div(w->out, own) >= 2 * threads) {
    // Few tiles for so many filters: each chunk has filters that no other core needs.
    w->slice = own;
    w->group = w->tiles;
  } else {
    w->filters = workspace();
    parallel(ceil_div(w->out, NR) * ceil_div(w->channels, FILTER_ROWS), 9. * (double)w->channels * (double)w->out, winograd_filters_chunk, w);
    w->slice = w->out;
    w->group = threads > 1 ? ceil_div(w->tiles, 4 * threads) : w->tiles;
  }
  w->slices = ceil_div(w->out, w->slice);
  int64_t per_tile = POSITIONS * (round_up(w->channels, VL) + round_up(w->slice, NR));
  w->block = max64(MR, min64(round_up(w->group, MR), WINOGRAD_BLOCK / per_tile / MR * MR));
  w->group = round_up(w->group, w->block);
  parallel(w->slices * ceil_div(w->tiles, w->group), (double)w->tiles * (double)w->channels * (double)w->out, winograd_chunk, w);
}

// The filter's gradient: the 16 products run over tiles, between the image's and those of dy, and their sums are transformed back to 3 x 3. A chunk is a
// slice of the channels, a slice of the output channels and a group of the tiles, such that all it reads again stays in its core's second-level cache.
typedef struct {
  const winograd *w;  // y is dy
  float *dfilter;     // [groups, 3, 3, channels, out]
  int64_t slice, out_slice, slices, out_slices;
  int64_t group;  // tiles
} winograd_gradient;

#define GRADIENT_SUMS (1 << 12)   // elements of a slice of sums at one position
#define GRADIENT_COLUMNS 128
#define GRADIENT_BLOCK 64         // tiles that are transformed at a time
#define GRADIENT_CHUNKS 8

// A tile of dy, 2 x 2, at 16 positions; zeros up to a whole panel.
static void winograd_dy_tile(const winograd *w, int64_t tile, int64_t from, int64_t count, float *restrict out, int64_t stride) {
  winograd_place at = winograd_find(w, tile);
  int below = at.y + 1 < w->out_height, right = at.x + 1 < w->out_width;
  const float *here = w->y + winograd_pixel(w, at) + from, *under = here + w->out_width * w->out;
  int64_t c = 0;
  for (; c < count; c += VL) {
    int64_t n = count - c;
    vf d[2][2] = {{load_some(here + c, n), right ? load_some(here + w->out + c, n) : (vf){0}},
                  {below ? load_some(under + c, n) : (vf){0}, below && right ? load_some(under + w->out + c, n) : (vf){0}}};
    vf t[4][2];
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) t[0][j] = d[0][j], t[1][j] = d[0][j] + d[1][j], t[2][j] = d[0][j] - d[1][j], t[3][j] = -d[1][j];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      float *o = out + i * 4 * stride + c;
      put(o, t[i][0]);
      put(o + stride, t[i][0] + t[i][1]);
      put(o + 2 * stride, t[i][0] - t[i][1]);
      put(o + 3 * stride, -t[i][1]);
    }
  }
  for (; c < round_up(count, NR); c += VL)
    for (int p = 0; p < POSITIONS; p++) put(out + p * stride + c, (vf){0});
}

// From the sums of one channel, `apart` elements between positions, to its `count` filters.
static void winograd_sums_channel(const float *sums, int64_t apart, int64_t count, float *dfilter, int64_t tap) {
  for (int64_t c = 0; c < count; c += VL) {
    vf t[3][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const float *u = sums + j * apart + c;
      vf u0 = *(const vf *)u, u1 = *(const vf *)(u + 4 * apart), u2 = *(const vf *)(u + 8 * apart), u3 = *(const vf *)(u + 12 * apart), both = (u1 + u2) * 0.5f;
      t[0][j] = u0 + both, t[1][j] = (u1 - u2) * 0.5f, t[2][j] = both + u3;
    }
    for (int i = 0; i < 3; i++) {
      vf both = (t[i][1] + t[i][2]) * 0.5f;
      float *to = dfilter + i * 3 * tap + c;
      store_some(to, t[i][0] + both, count - c);
      store_some(to + tap, (t[i][1] - t[i][2]) * 0.5f, count - c);
      store_some(to + 2 * tap, both + t[i][3], count - c);
    }
  }
}

static void winograd_gradient_chunk(void *context, int64_t chunk, int thread) {
  const winograd_gradient *g = context;
  const winograd *w = g->w;
  int64_t from = chunk % g->slices * g->slice, count = min64(g->slice, w->channels - from);
  int64_t out_from = chunk / g->slices % g->out_slices * g->out_slice, out_count = min64(g->out_slice, w->out - out_from);
  int64_t group = chunk / g->slices / g->out_slices, first = group * g->group, last = min64(w->tiles, first + g->group);
  int64_t channels = round_up(count, VL), columns = round_up(out_count, NR);
  int64_t apart = GRADIENT_BLOCK * channels + APART, dy_apart = GRADIENT_BLOCK * columns + APART, sums_apart = count * columns;
  float *none = scratch(thread), *sums = none + channels, *image = sums + POSITIONS * sums_apart, *dy = image + POSITIONS * apart;
  for (int64_t c = 0; c < channels; c++) none[c] = 0;
  for (int64_t t = first; t < last; t += GRADIENT_BLOCK) {
    int64_t tiles = min64(GRADIENT_BLOCK, last - t);
    for (int64_t i = 0; i < tiles; i++) {
      winograd_image_tile(w, t + i, from, count, none, image + i * channels, apart);
      winograd_dy_tile(w, t + i, out_from, out_count, dy + i * columns, dy_apart);
    }
    for (int p = 0; p < POSITIONS; p++)
      for (int64_t j = 0; j < columns; j += NR)
        open_product(NV, count, tiles, image + p * apart, 1, channels, dy + p * dy_apart + j, columns, sums + p * sums_apart + j, columns, t > first);
  }
  int64_t tap = w->channels * w->out;
  float *dfilter = g->dfilter + group * 9 * tap;
  for (int64_t c = 0; c < count; c++) winograd_sums_channel(sums + c * columns, sums_apart, out_count, dfilter + (from + c) * w->out + out_from, tap);
}

typedef struct { const float *parts; float *sum; int64_t groups, size; } winograd_parts;

static void winograd_add_chunk(void *context, int64_t chunk, int thread) {
  const winograd_parts *p = context;
  (void)thread;
  for (int64_t i = chunk * ELEMENT_CHUNK; i < min64(p->size, (chunk + 1) * ELEMENT_CHUNK); i++) {
    float sum = p->parts[i];
    for (int64_t group = 1; group < p->groups; group++) sum += p->parts[group * p->size + i];
    p->sum[i] = sum;
  }
}

static void winograd_grad_filter(winograd *w, float *dfilter) {
  winograd_tiles(w);
  int64_t size = 9 * w->channels * w->out;
  if (w->tiles == 0) {
    for (int64_t i = 0; i < size; i++) dfilter[i] = 0;
    return;
  }
  winograd_gradient g = {.w = w, .dfilter = dfilter};
  g.out_slice = min64(round_up(w->out, NR), GRADIENT_COLUMNS);
  g.slice = min64(round_up(w->channels, VL), GRADIENT_SUMS / g.out_slice / VL * VL);
  g.slices = ceil_div(w->channels, g.slice);
  g.out_slices = ceil_div(w->out, g.out_slice);
  // Groups follow from sizes alone, so that the order of a sum does not depend on the number of threads.
  int64_t groups = max64(1, min64(ceil_div(GRADIENT_CHUNKS, g.slices * g.out_slices), min64(w->tiles / (4 * GRADIENT_BLOCK), WORKSPACE_FLOATS / size)));
  g.group = round_up(ceil_div(w->tiles, groups), GRADIENT_BLOCK);
  groups = ceil_div(w->tiles, g.group);
  if (groups > 1) g.dfilter = workspace();
  parallel(g.slices * g.out_slices * groups, (double)w->tiles * (double)w->channels * (double)w->out, winograd_gradient_chunk, &g);
  if (groups == 1) return;
  winograd_parts parts = {g.dfilter, dfilter, groups, size};
  parallel(ceil_div(size, ELEMENT_CHUNK), (double)size * (double)groups, winograd_add_chunk, &parts);
}
