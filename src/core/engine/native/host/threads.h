// The host outside of WebAssembly: POSIX threads that are started once, wait on a condition variable, and never keep the process alive.
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include "../parallel.h"

// What queue.h needs.
typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;
typedef pthread_t thread_handle;
#define MUTEX PTHREAD_MUTEX_INITIALIZER
#define mutex_lock pthread_mutex_lock
#define mutex_unlock pthread_mutex_unlock
#define condition_wait pthread_cond_wait
#define condition_wake pthread_cond_broadcast
// How often the queue's thread looks for a next kernel before it sleeps: kernels of a step follow each other within microseconds.
#define QUEUE_LOOKS 400
static inline void told(void) {}  // who waits sleeps on a condition

static inline double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static float *scratch_memory[MAX_THREADS], *workspace_memory;
static float *scratch(int thread) { return scratch_memory[thread]; }
static float *workspace(void) { return workspace_memory; }

static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
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

// Starts more threads where needed, and uses this many from now on. Returns whether it could.
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
