// Work sharing. A kernel cuts its work into chunks whose number depends on shapes alone; threads take chunks as they come free. Every sum is
// taken within one chunk or over chunks in order, so results do not depend on the number of threads.
#pragma once
#include "platform.h"

#define MAX_THREADS 64
// Waking a parked thread costs as much as about this many element operations.
#define PARALLEL_THRESHOLD 32768

typedef void (*chunk_fn)(void *context, int64_t chunk, int thread);

// The ticket holds a job's generation above and the number of chunks not yet taken below, so taking one is a single compare-and-swap that
// fails once the job has ended. `run`, `context` and `total` are read after that, when the job cannot end before this chunk has.
static struct {
  uint64_t ticket __attribute__((aligned(64)));
  int32_t completed __attribute__((aligned(64)));
  chunk_fn run __attribute__((aligned(64)));
  void *context;
  int64_t total;
  int threads;
} pool = {.threads = 1};

// Given by the host: start parked threads, wait a moment for the last chunks, tell the waiting caller.
static void pool_wake(void);
static void pool_pause(int round);
static void pool_notify_done(void);
// Memory private to a thread, SCRATCH_FLOATS long, and memory of the whole pool, WORKSPACE_FLOATS long.
static float *scratch(int thread);
static float *workspace(void);
#define SCRATCH_FLOATS (1 << 19)
#define WORKSPACE_FLOATS (1 << 21)

// Takes chunks until none is left. Returns whether there was any.
static int pool_work(int thread) {
  int worked = 0;
  for (;;) {
    uint64_t ticket = __atomic_load_n(&pool.ticket, __ATOMIC_ACQUIRE);
    uint32_t left = (uint32_t)ticket;
    if (left == 0) return worked;
    if (!__atomic_compare_exchange_n(&pool.ticket, &ticket, ticket - 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) continue;
    worked = 1;
    int64_t total = pool.total;
    pool.run(pool.context, total - left, thread);
    if (__atomic_add_fetch(&pool.completed, 1, __ATOMIC_ACQ_REL) == total && thread != 0) pool_notify_done();
  }
}

// Runs `run(context, chunk, thread)` for each chunk. `work` is the cost in element operations; little work stays on the caller.
static void parallel(int64_t chunks, double work, chunk_fn run, void *context) {
  if (chunks <= 1 || pool.threads <= 1 || work < PARALLEL_THRESHOLD) {
    for (int64_t i = 0; i < chunks; i++) run(context, i, 0);
    return;
  }
  uint64_t generation = (pool.ticket >> 32) + 1;
  pool.run = run;
  pool.context = context;
  pool.total = chunks;
  __atomic_store_n(&pool.completed, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&pool.ticket, generation << 32 | (uint32_t)chunks, __ATOMIC_SEQ_CST);
  pool_wake();
  pool_work(0);
  for (int round = 0; __atomic_load_n(&pool.completed, __ATOMIC_ACQUIRE) < chunks; round++) pool_pause(round);
}

// Element-wise kernels: ranges of this many elements.
#define ELEMENT_CHUNK 16384

typedef struct {
  void (*run)(const args *a, int64_t begin, int64_t end);
  const args *a;
  int64_t count, step;
} range_job;

static void range_chunk(void *context, int64_t chunk, int thread) {
  range_job *job = context;
  (void)thread;
  job->run(job->a, chunk * job->step, min64(job->count, (chunk + 1) * job->step));
}

// Calls `run` on [0, count) in ranges of `step`; `cost` element operations each.
static void parallel_ranges(const args *a, int64_t count, int64_t step, double cost, void (*run)(const args *, int64_t, int64_t)) {
  range_job job = {run, a, count, max64(1, step)};
  parallel(ceil_div(count, job.step), (double)count * cost, range_chunk, &job);
}

// Rows of `width` elements, a chunk of about ELEMENT_CHUNK elements at a time.
static void parallel_rows(const args *a, int64_t rows, int64_t width, double cost, void (*run)(const args *, int64_t, int64_t)) {
  parallel_ranges(a, rows, max64(1, ELEMENT_CHUNK / max64(1, width)), cost * (double)width, run);
}
