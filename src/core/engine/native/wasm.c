// The engine as a WebAssembly module: memory is shared with worker threads, which run `serve` forever, and one that runs `serve_queue`. The host writes
// arguments into `call_arguments`.
#include "parallel.h"

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))

IMPORT(now) double now(void);  // milliseconds
IMPORT(told) void told(void);

#define NOTIFY(address, count) __builtin_wasm_memory_atomic_notify(address, count)
#define WAIT(address, seen, nanoseconds) __builtin_wasm_memory_atomic_wait32(address, seen, nanoseconds)

// After Drepper's "Futexes are tricky": free, held, or held while others may wait.
typedef struct { int32_t state; } mutex;
#define MUTEX {0}
static void mutex_lock(mutex *m) {
  int32_t seen = 0;
  if (__atomic_compare_exchange_n(&m->state, &seen, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return;
  while (__atomic_exchange_n(&m->state, 2, __ATOMIC_SEQ_CST) != 0) WAIT(&m->state, 2, -1);
}
static void mutex_unlock(mutex *m) {
  if (__atomic_exchange_n(&m->state, 0, __ATOMIC_SEQ_CST) == 2) NOTIFY(&m->state, 1);
}

typedef struct { int32_t signals, waiting; } condition;
static void condition_wait(condition *c, mutex *m) {
  int32_t seen = __atomic_load_n(&c->signals, __ATOMIC_SEQ_CST);
  c->waiting++;
  mutex_unlock(m);
  WAIT(&c->signals, seen, -1);
  mutex_lock(m);
  c->waiting--;
}
static void condition_wake(condition *c) {
  __atomic_fetch_add(&c->signals, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&c->waiting, __ATOMIC_SEQ_CST)) NOTIFY(&c->signals, MAX_THREADS);
}

typedef int32_t thread_handle;
static double seconds(void) { return now() / 1000; }
static void relax(void) {}
#define QUEUE_LOOKS 3000
#include "queue.h"

static float *scratch_base;
static int32_t epoch, sleepers;
static queue posts;
static args call_arguments;

static float *scratch(int thread) { return scratch_base + (int64_t)thread * SCRATCH_FLOATS; }
static float *workspace(void) { return scratch_base + (int64_t)pool.threads * SCRATCH_FLOATS; }

static void pool_wake(void) {
  __atomic_fetch_add(&epoch, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&sleepers, __ATOMIC_SEQ_CST)) NOTIFY(&epoch, MAX_THREADS);
}
static void pool_notify_done(void) { NOTIFY(&pool.completed, 1); }
static void pool_pause(int round) {
  if (round < 4000) return;
  int32_t seen = __atomic_load_n(&pool.completed, __ATOMIC_ACQUIRE);
  if (seen < pool.total) WAIT(&pool.completed, seen, 1000000);
}

// Floats of memory that `setup` needs for this many threads.
EXPORT(working_floats) int32_t working_floats(int32_t threads) { return threads * SCRATCH_FLOATS + WORKSPACE_FLOATS; }
EXPORT(setup) void setup(int32_t threads, float *memory) {
  pool.threads = threads;
  scratch_base = memory;
  posts.wanted = UINT64_MAX;
}
EXPORT(argument_pointers) void *argument_pointers(void) { return call_arguments.p; }
EXPORT(argument_numbers) double *argument_numbers(void) { return call_arguments.n; }
EXPORT(names) const char *names(void) { return kernel_names; }
// Whether a multiply-add is rounded once; `minus` is -x * x, rounded.
EXPORT(is_fused) int32_t is_fused(float x, float minus) {
  vf sum = MADD(x - (vf){0}, x - (vf){0}, minus - (vf){0});
  return sum[0] != 0;
}

static int add(int32_t kernel) {
  command *c = queue_slot(&posts);
  c->kernel = kernel;
  c->a = call_arguments;
  return queue_add(&posts);
}
// Runs the kernel on the arguments, after all that were posted. Returns what queue_failure does.
EXPORT(call) int32_t call(int32_t kernel) { return add(kernel), queue_finish(&posts); }
// The same, later. Returns whether the host is to start the queue's thread.
EXPORT(post) int32_t post(int32_t kernel) {
  if (!add(kernel)) return 0;
  if (posts.has_thread) condition_wake(&posts.changed);
  return !posts.has_thread;
}
EXPORT(finish) int32_t finish(void) { return queue_finish(&posts); }
EXPORT(failure) int32_t failure(void) { return queue_failure(&posts); }
EXPORT(posted) double posted(void) { return (double)posts.posted; }
// Whether so many are done. If not, `told` will be called when they are.
EXPORT(is_done) int32_t is_done(double target) {
  mutex_lock(&posts.lock);
  int done = (double)posts.done >= target;
  if (!done) queue_want(&posts, (uint64_t)target), condition_wake(&posts.changed);
  mutex_unlock(&posts.lock);
  return done;
}
EXPORT(busy) double busy(void) { return 1000 * queue_busy(&posts); }
// The life of the queue's thread.
EXPORT(serve_queue) void serve_queue(void) {
  mutex_lock(&posts.lock);
  posts.has_thread = 1;
  mutex_unlock(&posts.lock);
  queue_serve(&posts);
}

// A worker's life: work, look around for a moment, sleep until the next job.
EXPORT(serve) void serve(int32_t thread) {
  for (;;) {
    for (int round = 0; round < 3000; round++)
      if (pool_work(thread)) round = 0;
    __atomic_fetch_add(&sleepers, 1, __ATOMIC_SEQ_CST);
    // The epoch is read before the ticket: a job posted in between has changed it, and the wait returns at once.
    int32_t current = __atomic_load_n(&epoch, __ATOMIC_SEQ_CST);
    if ((uint32_t)__atomic_load_n(&pool.ticket, __ATOMIC_SEQ_CST) == 0) WAIT(&epoch, current, -1);
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
