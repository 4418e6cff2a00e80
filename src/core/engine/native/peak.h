// The machine's arithmetic limit: multiply-adds on registers alone, for `bench` to compare with.
#pragma once
#include "parallel.h"

#define PEAK_CHAINS 12
static void peak_chunk(void *context, int64_t chunk, int thread) {
  const args *a = context;
  (void)thread;
  vf c[PEAK_CHAINS], x = FLOATS(0)[0] - (vf){0}, y = FLOATS(0)[1] - (vf){0};
  for (int i = 0; i < PEAK_CHAINS; i++) c[i] = (float)i - (vf){0};
  for (int64_t k = 0; k < NUM(0); k++)
#pragma GCC unroll 12
    for (int i = 0; i < PEAK_CHAINS; i++) c[i] = MADD(c[i], x, y);
  vf sum = c[0];
  for (int i = 1; i < PEAK_CHAINS; i++) sum += c[i];
  float lanes[VL];
  put(lanes, sum);
  FLOATS(1)[chunk] = 0;
  for (int l = 0; l < VL; l++) FLOATS(1)[chunk] += lanes[l];
}

// peak: [x, y], sums [chunks]; repetitions, chunks. Each chunk makes repetitions * lanes multiply-adds; x, y is followed by a place for lanes.
static int k_peak(const args *a) {
  parallel(NUM(1), 1e9, peak_chunk, (void *)a);
  FLOATS(0)[2] = PEAK_CHAINS * VL;
  return 0;
}
