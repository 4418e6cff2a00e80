// Kernels that run behind the caller's back, in the order they were posted, while the caller prepares the next. One thread posts and finishes (the
// isolate's own); a second, the queue's, runs what was posted, unless the first waits for it and does so itself. The host gives mutexes and conditions, the time
// in `seconds`, how to `relax` and how often before sleep (QUEUE_LOOKS), and `told`, which is called when what was `wanted` is done.
#pragma once
#include "kernels.h"

#define QUEUE_LENGTH 1024
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
  thread_handle thread;
  mutex lock;
  condition changed, progress;
} queue;

static mutex kernel_lock = MUTEX;  // isolates share the threads that work

// Runs the oldest command. The lock is held before and after, not meanwhile.
static void queue_step(queue *q) {
  command *next = &q->commands[q->done % QUEUE_LENGTH];
  int dropped = q->failure != 0;
  q->running = 1;
  mutex_unlock(&q->lock);
  int status = 0;
  double begin = seconds();
  if (!dropped) {
    mutex_lock(&kernel_lock);
    status = kernels[next->kernel](&next->a);
    mutex_unlock(&kernel_lock);
  }
  double spent = seconds() - begin;
  mutex_lock(&q->lock);
  q->running = 0;
  q->busy += spent;
  if (status) q->failure = 1 + next->kernel * 8 + status;
  __atomic_store_n(&q->done, q->done + 1, __ATOMIC_RELEASE);
  int is_wanted = q->done >= q->wanted;
  if (is_wanted) q->wanted = UINT64_MAX;
  if (is_wanted || q->helping) condition_wake(&q->progress);
  if (is_wanted) told();
}

// What the queue's thread does until the end.
static void queue_serve(queue *q) {
  mutex_lock(&q->lock);
  for (;;) {
    if (q->posted != q->done && !q->helping) {
      queue_step(q);
      continue;
    }
    if (q->ending) break;
    if (!q->helping) {
      uint64_t seen = q->posted;
      mutex_unlock(&q->lock);
      for (int look = 0; look < QUEUE_LOOKS && __atomic_load_n(&q->posted, __ATOMIC_ACQUIRE) == seen; look++) relax();
      mutex_lock(&q->lock);
      if (q->posted != seen || q->ending) continue;
    }
    q->asleep = 1;
    condition_wait(&q->changed, &q->lock);
    q->asleep = 0;
  }
  mutex_unlock(&q->lock);
}

// Takes the first failure since the last time, 0 for none. What ran since then was dropped.
static int32_t queue_failure(queue *q) {
  mutex_lock(&q->lock);
  int32_t failure = q->failure;
  q->failure = 0;
  mutex_unlock(&q->lock);
  return failure;
}

// Runs everything posted, here where the queue's thread has not begun it.
static void queue_drain(queue *q) {
  mutex_lock(&q->lock);
  q->helping = 1;
  while (q->running) condition_wait(&q->progress, &q->lock);
  while (q->posted != q->done) queue_step(q);
  q->helping = 0;
  mutex_unlock(&q->lock);
}
static int32_t queue_finish(queue *q) {
  queue_drain(q);
  return queue_failure(q);
}

// Seconds spent in kernels so far.
static double queue_busy(queue *q) {
  mutex_lock(&q->lock);
  double busy = q->busy;
  mutex_unlock(&q->lock);
  return busy;
}

// Asks to be told when `target` commands are done. The lock is held.
static void queue_want(queue *q, uint64_t target) {
  if (target < q->wanted) q->wanted = target;
}
// Sleeps until there was progress, at the latest at `target`. The lock is held before and after.
static void queue_await(queue *q, uint64_t target) {
  queue_want(q, target);
  condition_wait(&q->progress, &q->lock);
}

// Where the next command is to be written, before `queue_add`. Waits for room.
static command *queue_slot(queue *q) {
  if (q->posted - __atomic_load_n(&q->done, __ATOMIC_ACQUIRE) == QUEUE_LENGTH) {
    if (!q->has_thread) queue_drain(q);
    mutex_lock(&q->lock);
    while (q->posted - q->done > QUEUE_LENGTH / 2) queue_await(q, q->posted - QUEUE_LENGTH / 2);
    mutex_unlock(&q->lock);
  }
  return &q->commands[q->posted % QUEUE_LENGTH];
}

// Adds what was written into the slot. Returns whether the queue's thread is to be woken, now or when somebody else is to wait.
static int queue_add(queue *q) {
  mutex_lock(&q->lock);
  __atomic_store_n(&q->posted, q->posted + 1, __ATOMIC_RELEASE);
  int sleeps = (q->asleep || !q->has_thread) && q->posted - q->done >= QUEUE_PATIENCE;
  mutex_unlock(&q->lock);
  return sleeps;
}
