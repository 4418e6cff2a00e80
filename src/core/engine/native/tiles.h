// Matrix products on the processor's own matrix unit (Intel AMX), which multiplies pairs of bfloat16 into float sums, sixteen times as many a cycle as
// 512-bit vectors do. A float is cut into three bfloat16 of 8 bits each, whose sum it is exactly; of the nine products of two floats' parts the six
// largest are added up, the smallest first, and what is left out lies below 2^-23 of the product: float precision, after Henry, Tang and Heinecke 2019.
// What is smaller than 2^-126 counts as zero, so parts of values below 1e-33 are lost. Infinity and NaN have no parts: `tile_pack` reports them and the
// caller takes vectors instead.
#pragma once
#include "parallel.h"

#if defined(__AMX_BF16__) && defined(__AVX512BW__) && defined(__linux__)
#define TILES 1
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PARTS 3
#define EDGE 32                            // rows or columns of a strip: two tiles
#define STEP 32                            // of k in one tile
#define TILE 512                           // bfloat16 in a tile of 16 x 32
#define STRIP_STEP (PARTS * 2 * TILE)      // of a strip for one step of k: [part][half][16][32]
static inline int64_t strip_size(int64_t k) { return ceil_div(k, STEP) * STRIP_STEP; }
typedef uint16_t bf16;

static int tiles_on;

// Whether products go to the matrix unit from now on. The system is asked for its registers, for the whole process; it may say no.
static int use_tiles(int wanted) {
  long request_permission = 0x1023, tile_data = 18;
  return tiles_on = wanted && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

// Around a thread's products: eight tiles of 16 rows of 64 bytes.
static void tiles_begin(void) {
  struct { uint8_t palette, start_row, reserved[14]; uint16_t bytes[16]; uint8_t rows[16]; } shape __attribute__((aligned(64))) = {.palette = 1};
  for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = 16;
  _tile_loadconfig(&shape);
}
static void tiles_end(void) { _tile_release(); }

// Lines of 16 pairs, turned: pair j of line i becomes pair i of line j.
static inline __attribute__((always_inline)) void turn_pairs(__m512i x[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) t[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]), t[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]), x[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]), x[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    int low = i % 4 + i / 4 * 8;
    t[i] = _mm512_shuffle_i32x4(x[low], x[low + 4], 0x88), t[i + 8] = _mm512_shuffle_i32x4(x[low], x[low + 4], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    x[i] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88), x[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
    x[i + 4] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88), x[i + 12] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
  }
}

// `lines` lines (at most 16) of `length` values of k (at most 32) into the tiles of each part, 2 * TILE apart. along_k: a line lies along k, at
// source + line * ld; otherwise k runs over rows of memory, at source + k * ld + line. turned: tiles have a row for each pair of k, as B's do; otherwise
// one for each line. Returns the largest exponent's bits.
static inline __attribute__((always_inline)) __m512i pack_tile(const float *source, int64_t ld, int along_k, int lines, int length, int turned, bf16 *out) {
  const __m512i high = _mm512_set1_epi32((int)0xffff0000), magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i odd = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  __m512i largest = _mm512_setzero_si512(), part[PARTS][16];
  int rows = along_k ? lines : (length + 1) / 2;
  __mmask16 first = along_k ? (length >= 16 ? 0xffff : (1u << length) - 1) : (1u << lines) - 1;
  __mmask16 second = along_k ? (length >= 32 ? 0xffff : length > 16 ? (1u << (length - 16)) - 1 : 0) : first;
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) {
    if (i >= rows) {
      part[0][i] = part[1][i] = part[2][i] = _mm512_setzero_si512();
      continue;
    }
    const float *at = along_k ? source + i * ld : source + 2 * i * ld, *next = along_k ? at + 16 : at + ld;
    __m512 x = _mm512_maskz_loadu_ps(first, at), y = _mm512_maskz_loadu_ps(along_k || 2 * i + 1 < length ? second : 0, next);
    largest = _mm512_max_epu32(largest, _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(x), magnitude), _mm512_and_si512(_mm512_castps_si512(y), magnitude)));
#pragma GCC unroll 3
    for (int p = 0; p < PARTS; p++) {
      __m512i a = _mm512_castps_si512(x), b = _mm512_castps_si512(y), top_b = _mm512_and_si512(b, high);
      part[p][i] = along_k ? _mm512_permutex2var_epi16(a, odd, b) : _mm512_or_si512(_mm512_srli_epi32(a, 16), top_b);
      x = _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_and_si512(a, high)));
      y = _mm512_sub_ps(y, _mm512_castsi512_ps(top_b));
    }
  }
#pragma GCC unroll 3
  for (int p = 0; p < PARTS; p++) {
    if (along_k == turned) turn_pairs(part[p]);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) _mm512_store_si512(out + p * 2 * TILE + i * 32, part[p][i]);
  }
  return largest;
}

// `lines` lines as strips of EDGE, `strip` apart, over k; the last one is filled up with zeros. Where k runs over rows of memory, all strips take what they
// need of a few rows before the next few. Returns a bit for each strip that holds infinity or NaN.
static uint64_t pack_strips(const float *source, int64_t ld, int along_k, int64_t lines, int64_t k, int turned, bf16 *out, int64_t strip) {
  int64_t strips = ceil_div(lines, EDGE), steps = ceil_div(k, STEP);
  uint64_t infinite = 0;
  for (int64_t n = 0; n < strips * steps; n++) {
    int64_t s = along_k ? n / steps : n % strips, q = along_k ? n % steps : n / strips, rest = lines - s * EDGE;
    int length = (int)min64(STEP, k - q * STEP);
    const float *from = along_k ? source + s * EDGE * ld + q * STEP : source + q * STEP * ld + s * EDGE;
    bf16 *to = out + s * strip + q * STRIP_STEP;
    __m512i largest;
    if (rest >= EDGE && length == STEP) {
      const float *below = from + (along_k ? 16 * ld : 16);
      if (along_k) largest = turned ? _mm512_max_epu32(pack_tile(from, ld, 1, 16, STEP, 1, to), pack_tile(below, ld, 1, 16, STEP, 1, to + TILE))
                                    : _mm512_max_epu32(pack_tile(from, ld, 1, 16, STEP, 0, to), pack_tile(below, ld, 1, 16, STEP, 0, to + TILE));
      else largest = turned ? _mm512_max_epu32(pack_tile(from, ld, 0, 16, STEP, 1, to), pack_tile(below, ld, 0, 16, STEP, 1, to + TILE))
                            : _mm512_max_epu32(pack_tile(from, ld, 0, 16, STEP, 0, to), pack_tile(below, ld, 0, 16, STEP, 0, to + TILE));
    } else {
      int first = (int)min64(16, rest), second = (int)min64(16, rest - first);
      largest = along_k ? pack_tile(from, ld, 1, first, length, turned, to) : pack_tile(from, ld, 0, first, length, turned, to);
      largest = _mm512_max_epu32(largest, along_k ? pack_tile(from + first * ld, ld, 1, second, second ? length : 0, turned, to + TILE)
                                                  : pack_tile(from + first, ld, 0, second, second ? length : 0, turned, to + TILE));
    }
    if (_mm512_reduce_max_epu32(largest) >= 0x7f800000u) infinite |= (uint64_t)1 << s;
  }
  return infinite;
}

// c = (add ? c : 0) + the product of two strips over `steps` of k: EDGE x EDGE, or 16 rows or columns of it.
static inline __attribute__((always_inline)) void strip_product(int64_t steps, const bf16 *a, const bf16 *b, float *c, int64_t ldc, int add, int tall, int wide) {
  int64_t stride = ldc * 4;
  if (add) {
    _tile_loadd(0, c, stride);
    if (wide) _tile_loadd(1, c + 16, stride);
    if (tall) _tile_loadd(2, c + 16 * ldc, stride);
    if (tall && wide) _tile_loadd(3, c + 16 * ldc + 16, stride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
#define LOAD_A(part) do { _tile_loadd(4, a + (part) * 2 * TILE, 64); if (tall) _tile_loadd(5, a + (part) * 2 * TILE + TILE, 64); } while (0)
#define LOAD_B(part) do { _tile_loadd(6, b + (part) * 2 * TILE, 64); if (wide) _tile_loadd(7, b + (part) * 2 * TILE + TILE, 64); } while (0)
#define MULTIPLY() do { _tile_dpbf16ps(0, 4, 6); if (wide) _tile_dpbf16ps(1, 4, 7); if (tall) _tile_dpbf16ps(2, 5, 6); if (tall && wide) _tile_dpbf16ps(3, 5, 7); } while (0)
  for (int64_t s = 0; s < steps; s++, a += STRIP_STEP, b += STRIP_STEP) {
    LOAD_A(0);
    LOAD_B(2);
    MULTIPLY();
    LOAD_B(1);
    MULTIPLY();
    LOAD_A(1);
    MULTIPLY();
    LOAD_B(0);
    MULTIPLY();
    LOAD_A(2);
    MULTIPLY();
    LOAD_A(0);
    MULTIPLY();
  }
#undef LOAD_A
#undef LOAD_B
#undef MULTIPLY
  _tile_stored(0, c, stride);
  if (wide) _tile_stored(1, c + 16, stride);
  if (tall) _tile_stored(2, c + 16 * ldc, stride);
  if (tall && wide) _tile_stored(3, c + 16 * ldc + 16, stride);
}
#else
static inline int use_tiles(int wanted) {
  (void)wanted;
  return 0;
}
#endif
