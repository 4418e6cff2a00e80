// Kernels that run behind the caller's back, in the order they were posted, while the caller prepares the next. One thread posts and finishes (the
// isolate's own); a second, the queue's, runs what was posted, unless the first waits for it and does so itself.
#pragma once
#include <string.h>
#include <time.h>
#include "kernels.h"
#include "threads.h"

#define QUEUE_LENGTH 1024
// How often the queue's thread looks for a next kernel before it sleeps: kernels of a step follow each other within microseconds.
#define QUEUE_LOOKS 400
// So many commands wait before its thread is woken: the few of a decoded token run sooner on the thread that will ask for the result.
#define QUEUE_PATIENCE 16

typedef struct {
  int32_t kernel;
  args a;
} command;

typedef struct {
  command commands[QUEUE_LENGTH];
  uint64_t posted, done;  // ever; those between are waiting, the first of them maybe running
  uint64_t wanted;        // the least `done` that somebody else waits for
  int running, helping, asleep, ending, has_thread, references;
  int32_t failure;  // 1 + 8 * kernel + status of the first kernel that refused; those behind it are dropped until it is taken
  double busy;      // seconds in kernels
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed, progress;
} queue;

static pthread_mutex_t kernel_lock = PTHREAD_MUTEX_INITIALIZER;  // isolates share the threads that work

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static queue *queue_make(void) {
  queue *q = calloc(1, sizeof *q);
  if (!q) return 0;
  q->wanted = UINT64_MAX;
  q->references = 1;
  pthread_mutex_init(&q->lock, 0);
  pthread_cond_init(&q->changed, 0);
  pthread_cond_init(&q->progress, 0);
  return q;
}

// Runs the oldest command. The lock is held before and after, not meanwhile.
static void queue_step(queue *q) {
  command *next = &q->commands[q->done % QUEUE_LENGTH];
  int dropped = q->failure != 0;
  q->running = 1;
  pthread_mutex_unlock(&q->lock);
  int status = 0;
  double begin = seconds();
  if (!dropped) {
    pthread_mutex_lock(&kernel_lock);
    status = kernels[next->kernel](&next->a);
    pthread_mutex_unlock(&kernel_lock);
  }
  double spent = seconds() - begin;
  pthread_mutex_lock(&q->lock);
  q->running = 0;
  q->busy += spent;
  if (status) q->failure = 1 + next->kernel * 8 + status;
  __atomic_store_n(&q->done, q->done + 1, __ATOMIC_RELEASE);
  if (q->helping || q->done >= q->wanted) {
    q->wanted = UINT64_MAX;
    pthread_cond_broadcast(&q->progress);
  }
}

static void *queue_serve(void *argument) {
  queue *q = argument;
  pthread_mutex_lock(&q->lock);
  for (;;) {
    if (q->posted != q->done && !q->helping) {
      queue_step(q);
      continue;
    }
    if (q->ending) break;
    if (!q->helping) {
      uint64_t seen = q->posted;
      pthread_mutex_unlock(&q->lock);
      for (int look = 0; look < QUEUE_LOOKS && __atomic_load_n(&q->posted, __ATOMIC_ACQUIRE) == seen; look++) relax();
      pthread_mutex_lock(&q->lock);
      if (q->posted != seen || q->ending) continue;
    }
    q->asleep = 1;
    pthread_cond_wait(&q->changed, &q->lock);
    q->asleep = 0;
  }
  pthread_mutex_unlock(&q->lock);
  return 0;
}

// Takes the first failure since the last time, 0 for none. What ran since then was dropped.
static int32_t queue_failure(queue *q) {
  pthread_mutex_lock(&q->lock);
  int32_t failure = q->failure;
  q->failure = 0;
  pthread_mutex_unlock(&q->lock);
  return failure;
}

// Runs everything posted, here where the queue's thread has not begun it.
static void queue_drain(queue *q) {
  pthread_mutex_lock(&q->lock);
  q->helping = 1;
  while (q->running) pthread_cond_wait(&q->progress, &q->lock);
  while (q->posted != q->done) queue_step(q);
  q->helping = 0;
  pthread_mutex_unlock(&q->lock);
}
static int32_t queue_finish(queue *q) {
  queue_drain(q);
  return queue_failure(q);
}

// Sleeps until there was progress, at the latest at `target`. The lock is held before and after.
static void queue_await(queue *q, uint64_t target) {
  if (target < q->wanted) q->wanted = target;
  pthread_cond_wait(&q->progress, &q->lock);
}

// Where the next command is to be written, before `queue_add`. Waits for room.
static command *queue_slot(queue *q) {
  if (q->posted - __atomic_load_n(&q->done, __ATOMIC_ACQUIRE) == QUEUE_LENGTH) {
    pthread_mutex_lock(&q->lock);
    while (q->posted - q->done > QUEUE_LENGTH / 2) queue_await(q, q->posted - QUEUE_LENGTH / 2);
    pthread_mutex_unlock(&q->lock);
  }
  return &q->commands[q->posted % QUEUE_LENGTH];
}

// Adds what was written into the slot. Returns whether the queue's thread is to be woken, now or when somebody else is to wait.
static int queue_add(queue *q) {
  pthread_mutex_lock(&q->lock);
  __atomic_store_n(&q->posted, q->posted + 1, __ATOMIC_RELEASE);
  int sleeps = (q->asleep || !q->has_thread) && q->posted - q->done >= QUEUE_PATIENCE;
  pthread_mutex_unlock(&q->lock);
  return sleeps;
}

// Sets the queue's thread to work. Returns 0 when none can be had.
static int queue_wake(queue *q) {
  if (!q->has_thread) return q->has_thread = pthread_create(&q->thread, 0, queue_serve, q) == 0;
  pthread_cond_signal(&q->changed);
  return 1;
}

// Waits, on any thread, until `target` commands are done. The caller holds a reference.
static void queue_wait(queue *q, uint64_t target) {
  pthread_mutex_lock(&q->lock);
  while (q->done < target) queue_await(q, target);
  pthread_mutex_unlock(&q->lock);
}

// The queue stays until it was released as often as it was kept, and once more.
static void queue_keep(queue *q) {
  pthread_mutex_lock(&q->lock);
  q->references++;
  pthread_mutex_unlock(&q->lock);
}
static void queue_release(queue *q) {
  pthread_mutex_lock(&q->lock);
  int left = --q->references;
  pthread_mutex_unlock(&q->lock);
  if (left == 0) free(q);
}

// The end of the isolate: everything runs to its end, since its memory goes next.
static void queue_end(queue *q) {
  queue_drain(q);
  pthread_mutex_lock(&q->lock);
  q->ending = 1;
  pthread_cond_signal(&q->changed);
  pthread_mutex_unlock(&q->lock);
  if (q->has_thread) pthread_join(q->thread, 0);
  queue_release(q);
}
