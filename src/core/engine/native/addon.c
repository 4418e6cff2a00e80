// The engine as a Node addon. Threads are started once, wait on a condition variable, and never keep the process alive.
#define _GNU_SOURCE
#include <node_api.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include "kernels.h"

static float *scratch_memory[MAX_THREADS], *workspace_memory;
static float *scratch(int thread) { return scratch_memory[thread]; }
static float *workspace(void) { return workspace_memory; }

static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER, call_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t job_posted = PTHREAD_COND_INITIALIZER;
static int32_t sleepers;

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

static void pool_wake(void) {
  if (!__atomic_load_n(&sleepers, __ATOMIC_SEQ_CST)) return;
  pthread_mutex_lock(&sleep_lock);
  pthread_cond_broadcast(&job_posted);
  pthread_mutex_unlock(&sleep_lock);
}
static void pool_notify_done(void) {}
static void pool_pause(int round) {
  if (round < 2000) relax();
  else sched_yield();
}

static void *serve(void *argument) {
  int thread = (int)(intptr_t)argument;
  for (;;) {
    for (int round = 0; round < 2000; round++) {
      if (pool_work(thread)) round = 0;
      relax();
    }
    pthread_mutex_lock(&sleep_lock);
    __atomic_fetch_add(&sleepers, 1, __ATOMIC_SEQ_CST);
    while ((uint32_t)__atomic_load_n(&pool.ticket, __ATOMIC_SEQ_CST) == 0) pthread_cond_wait(&job_posted, &sleep_lock);
    __atomic_fetch_sub(&sleepers, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&sleep_lock);
  }
  return 0;
}

static float *allocate(size_t floats) {
  void *memory = 0;
  return posix_memalign(&memory, 64, floats * sizeof(float)) ? 0 : memory;
}

// setThreads(count): starts more threads where needed, and uses this many from now on. Returns whether it could.
static int started = 1;
static int set_threads(int threads) {
  if (threads < 1 || threads > MAX_THREADS) return 0;
  if (!workspace_memory && !(workspace_memory = allocate(WORKSPACE_FLOATS))) return 0;
  for (int t = 0; t < threads; t++)
    if (!scratch_memory[t] && !(scratch_memory[t] = allocate(SCRATCH_FLOATS))) return 0;
  for (; started < threads; started++) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 1 << 20);
    int failed = pthread_create(&thread, &attributes, serve, (void *)(intptr_t)started);
    pthread_attr_destroy(&attributes);
    if (failed) return 0;
  }
  pool.threads = threads;
  return 1;
}

static napi_value js_set_threads(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, result;
  int32_t threads = 0;
  napi_get_cb_info(env, info, &count, &argument, 0, 0);
  napi_get_value_int32(env, argument, &threads);
  pthread_mutex_lock(&call_lock);
  int ok = set_threads(threads);
  pthread_mutex_unlock(&call_lock);
  napi_get_boolean(env, ok, &result);
  return result;
}

// call(kernel, numbers: Float64Array, ...tensors): 0, or the number of an error.
static napi_value js_call(napi_env env, napi_callback_info info) {
  size_t count = 2 + KERNEL_POINTERS;
  napi_value argument[2 + KERNEL_POINTERS], result;
  int32_t kernel = -1, status = 1;
  size_t length = 0;
  void *numbers = 0;
  args a = {{0}, {0}};
  napi_get_cb_info(env, info, &count, argument, 0, 0);
  napi_get_value_int32(env, argument[0], &kernel);
  napi_get_typedarray_info(env, argument[1], 0, &length, &numbers, 0, 0);
  if (length > KERNEL_NUMBERS) length = KERNEL_NUMBERS;
  for (size_t i = 0; i < length; i++) a.n[i] = ((double *)numbers)[i];
  for (size_t i = 2; i < count && i < 2 + KERNEL_POINTERS; i++)
    if (napi_get_typedarray_info(env, argument[i], 0, 0, &a.p[i - 2], 0, 0) != napi_ok) a.p[i - 2] = 0;
  if (kernel >= 0 && kernel < (int32_t)KERNEL_COUNT) {
    pthread_mutex_lock(&call_lock);  // isolates share the threads
    status = kernels[kernel](&a);
    pthread_mutex_unlock(&call_lock);
  }
  napi_create_int32(env, status, &result);
  return result;
}

NAPI_MODULE_INIT() {
  napi_value value;
  napi_create_function(env, "call", NAPI_AUTO_LENGTH, js_call, 0, &value);
  napi_set_named_property(env, exports, "call", value);
  napi_create_function(env, "setThreads", NAPI_AUTO_LENGTH, js_set_threads, 0, &value);
  napi_set_named_property(env, exports, "setThreads", value);
  napi_create_string_utf8(env, kernel_names, NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, exports, "names", value);
  return exports;
}
