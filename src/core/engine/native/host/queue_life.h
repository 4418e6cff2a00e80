// A queue outside of WebAssembly: its thread, and those who hold it.
#pragma once
#include "threads.h"
#include "../queue.h"

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

static void *queue_thread(void *q) { return queue_serve(q), (void *)0; }

// Sets the queue's thread to work. Returns 0 when none can be had.
static int queue_wake(queue *q) {
  if (!q->has_thread) return q->has_thread = pthread_create(&q->thread, 0, queue_thread, q) == 0;
  condition_wake(&q->changed);
  return 1;
}

// Waits, on any thread, until `target` commands are done. The caller holds a reference.
static void queue_wait(queue *q, uint64_t target) {
  mutex_lock(&q->lock);
  while (q->done < target) queue_await(q, target);
  mutex_unlock(&q->lock);
}

// The queue stays until it was released as often as it was kept, and once more.
static void queue_keep(queue *q) {
  mutex_lock(&q->lock);
  q->references++;
  mutex_unlock(&q->lock);
}
static void queue_release(queue *q) {
  mutex_lock(&q->lock);
  int left = --q->references;
  mutex_unlock(&q->lock);
  if (left == 0) free(q);
}

// The end of the isolate: everything runs to its end, since its memory goes next.
static void queue_end(queue *q) {
  queue_drain(q);
  mutex_lock(&q->lock);
  q->ending = 1;
  condition_wake(&q->changed);
  mutex_unlock(&q->lock);
  if (q->has_thread) pthread_join(q->thread, 0);
  queue_release(q);
}
