// The engine as a WebAssembly module: memory is shared with worker threads, which run `serve` forever. The host writes arguments into `call_args`.
#include "kernels.h"

#define EXPORT(name) __attribute__((export_name(#name)))

static float *scratch_base;
static int32_t epoch, sleepers;
static args call_arguments;

static float *scratch(int thread) { return scratch_base + (int64_t)thread * SCRATCH_FLOATS; }
static float *workspace(void) { return scratch_base + (int64_t)pool.threads * SCRATCH_FLOATS; }

static void pool_wake(void) {
  __atomic_fetch_add(&epoch, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&sleepers, __ATOMIC_SEQ_CST)) __builtin_wasm_memory_atomic_notify(&epoch, MAX_THREADS);
}
static void pool_notify_done(void) { __builtin_wasm_memory_atomic_notify(&pool.completed, 1); }
static void pool_pause(int round) {
  if (round < 4000) return;
  int32_t seen = __atomic_load_n(&pool.completed, __ATOMIC_ACQUIRE);
  if (seen < pool.total) __builtin_wasm_memory_atomic_wait32(&pool.completed, seen, 1000000);
}

// Floats of memory that `setup` needs for this many threads.
EXPORT(working_floats) int32_t working_floats(int32_t threads) { return threads * SCRATCH_FLOATS + WORKSPACE_FLOATS; }
EXPORT(setup) void setup(int32_t threads, float *memory) {
  pool.threads = threads;
  scratch_base = memory;
}
EXPORT(argument_pointers) void *argument_pointers(void) { return call_arguments.p; }
EXPORT(argument_numbers) double *argument_numbers(void) { return call_arguments.n; }
EXPORT(names) const char *names(void) { return kernel_names; }
// Whether a multiply-add is rounded once; `minus` is -x * x, rounded.
EXPORT(is_fused) int32_t is_fused(float x, float minus) {
  vf sum = MADD(x - (vf){0}, x - (vf){0}, minus - (vf){0});
  return sum[0] != 0;
}
EXPORT(call) int32_t call(int32_t kernel) { return kernels[kernel](&call_arguments); }

// A worker's life: work, look around for a moment, sleep until the next job.
EXPORT(serve) void serve(int32_t thread) {
  for (;;) {
    for (int round = 0; round < 3000; round++)
      if (pool_work(thread)) round = 0;
    __atomic_fetch_add(&sleepers, 1, __ATOMIC_SEQ_CST);
    // The epoch is read before the ticket: a job posted in between has changed it, and the wait returns at once.
    int32_t now = __atomic_load_n(&epoch, __ATOMIC_SEQ_CST);
    if ((uint32_t)__atomic_load_n(&pool.ticket, __ATOMIC_SEQ_CST) == 0) __builtin_wasm_memory_atomic_wait32(&epoch, now, -1);
    __atomic_fetch_sub(&sleepers, 1, __ATOMIC_SEQ_CST);
  }
}

// There is no C library; the compiler may still ask for these.
void *memset(void *to, int value, size_t n) {
  unsigned char *p = to;
  for (size_t i = 0; i < n; i++) p[i] = (unsigned char)value;
  return to;
}
void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  unsigned char *p = to;
  const unsigned char *q = from;
  for (size_t i = 0; i < n; i++) p[i] = q[i];
  return to;
}
