// The engine as a Node addon.
#define _GNU_SOURCE
#include <node_api.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "host/queue_life.h"

// setThreads(count): whether it could.
static napi_value js_set_threads(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, result;
  int32_t threads = 0;
  napi_get_cb_info(env, info, &count, &argument, 0, 0);
  napi_get_value_int32(env, argument, &threads);
  pthread_mutex_lock(&kernel_lock);
  int ok = set_threads(threads);
  pthread_mutex_unlock(&kernel_lock);
  napi_get_boolean(env, ok, &result);
  return result;
}

// useMatrixUnit(wanted): whether products go to the processor's matrix unit from now on.
static napi_value js_use_matrix_unit(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, result;
  bool wanted = false;
  napi_get_cb_info(env, info, &count, &argument, 0, 0);
  napi_get_value_bool(env, argument, &wanted);
  pthread_mutex_lock(&kernel_lock);
  int used = use_tiles(wanted);
  pthread_mutex_unlock(&kernel_lock);
  napi_get_boolean(env, used, &result);
  return result;
}

static queue *queue_of(napi_env env) {
  void *data = 0;
  napi_get_instance_data(env, &data);
  return data;
}

// Reads (kernel, count, numbers: Float64Array, ...tensors) into the queue's next slot. Returns 0 when there is no such kernel.
static int read_command(napi_env env, napi_callback_info info, queue *q) {
  size_t count = 3 + KERNEL_POINTERS, length = 0;
  napi_value argument[3 + KERNEL_POINTERS];
  void *numbers = 0;
  int32_t used = 0;
  command *c = queue_slot(q);
  napi_get_cb_info(env, info, &count, argument, 0, 0);
  if (napi_get_value_int32(env, argument[0], &c->kernel) != napi_ok || c->kernel < 0 || c->kernel >= (int32_t)KERNEL_COUNT) return 0;
  napi_get_value_int32(env, argument[1], &used);
  napi_get_typedarray_info(env, argument[2], 0, &length, &numbers, 0, 0);
  if (used < 0 || (size_t)used > length || used > KERNEL_NUMBERS) return 0;
  memset(&c->a, 0, sizeof c->a);
  if (used) memcpy(c->a.n, numbers, (size_t)used * sizeof(double));
  for (size_t i = 3; i < count && i < 3 + KERNEL_POINTERS; i++)
    if (napi_get_typedarray_info(env, argument[i], 0, 0, &c->a.p[i - 3], 0, 0) != napi_ok) c->a.p[i - 3] = 0;
  return 1;
}

static napi_value number(napi_env env, double value) {
  napi_value result = 0;
  napi_create_double(env, value, &result);
  return result;
}

// What is returned for a kernel that refused: 0 for none, else 1 + 8 * kernel + status. -1 stands for a call that is none.
// call(kernel, count, numbers, ...tensors): runs what was posted before, then this.
static napi_value js_call(napi_env env, napi_callback_info info) {
  queue *q = queue_of(env);
  if (!read_command(env, info, q)) return number(env, -1);
  queue_add(q);
  return number(env, queue_finish(q));
}

// post(kernel, count, numbers, ...tensors): to be run after what was posted before, on memory that `reserve` or `mapFile` gave.
static napi_value js_post(napi_env env, napi_callback_info info) {
  queue *q = queue_of(env);
  if (!read_command(env, info, q)) return number(env, -1);
  return number(env, !queue_add(q) || queue_wake(q) ? 0 : queue_finish(q));  // here, where no thread can be had
}

// finish(): runs all that was posted.
static napi_value js_finish(napi_env env, napi_callback_info info) {
  (void)info;
  return number(env, queue_finish(queue_of(env)));
}

// failure(): takes the failure of what has run so far.
static napi_value js_failure(napi_env env, napi_callback_info info) {
  (void)info;
  return number(env, queue_failure(queue_of(env)));
}

// busy(): seconds spent in kernels so far.
static napi_value js_busy(napi_env env, napi_callback_info info) {
  (void)info;
  return number(env, queue_busy(queue_of(env)));
}

typedef struct {
  queue *q;
  uint64_t target;
  napi_deferred promise;
  napi_async_work work;
} waiting;

static void wait_elsewhere(napi_env env, void *data) {
  (void)env;
  waiting *w = data;
  queue_wait(w->q, w->target);
}
static void waited(napi_env env, napi_status status, void *data) {
  waiting *w = data;
  napi_value undefined;
  (void)status;
  napi_get_undefined(env, &undefined);
  napi_resolve_deferred(env, w->promise, undefined);
  napi_delete_async_work(env, w->work);
  queue_release(w->q);
  free(w);
}

// idle(): a promise for the end of all that was posted, or undefined when it is over.
static napi_value js_idle(napi_env env, napi_callback_info info) {
  (void)info;
  queue *q = queue_of(env);
  napi_value promise = 0, name;
  if (__atomic_load_n(&q->done, __ATOMIC_ACQUIRE) == q->posted) return 0;
  waiting *w = queue_wake(q) ? calloc(1, sizeof *w) : 0;
  if (!w) return queue_drain(q), (napi_value)0;
  w->q = q, w->target = q->posted;
  napi_create_string_utf8(env, "kernels", NAPI_AUTO_LENGTH, &name);
  if (napi_create_async_work(env, 0, name, wait_elsewhere, waited, w, &w->work) != napi_ok || napi_create_promise(env, &w->promise, &promise) != napi_ok) return free(w), queue_drain(q), (napi_value)0;
  queue_keep(q);
  napi_queue_async_work(env, w->work);
  return promise;
}

// Memory that JavaScript holds. It can go while kernels that use it wait: the end of an isolate collects before it runs hooks.
typedef struct {
  queue *q;
  size_t bytes;
} held;

static void unmap(napi_env env, void *memory, void *data) {
  held *h = data;
  (void)env;
  queue_drain(h->q);
  munmap(memory, h->bytes);
  queue_release(h->q);
  free(h);
}

// Mapped memory as an ArrayBuffer, or 0, which ends the mapping.
static napi_value as_buffer(napi_env env, void *memory, size_t bytes) {
  napi_value result = 0;
  held *h = malloc(sizeof *h);
  if (h) {
    *h = (held){queue_of(env), bytes};
    queue_keep(h->q);
    if (napi_create_external_arraybuffer(env, memory, bytes, unmap, h, &result) == napi_ok) return result;
    queue_release(h->q);
    free(h);
  }
  munmap(memory, bytes);
  return 0;
}

// mapFile(path): the file's bytes as an ArrayBuffer, or undefined. Writing to it changes a private copy.
static napi_value js_map_file(napi_env env, napi_callback_info info) {
  size_t count = 1, length = 0;
  napi_value argument, result = 0;
  char path[4096];
  struct stat status;
  napi_get_cb_info(env, info, &count, &argument, 0, 0);
  if (napi_get_value_string_utf8(env, argument, path, sizeof path, &length) != napi_ok) return 0;
  int file = open(path, O_RDONLY);
  if (file < 0) return 0;
  if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
    size_t bytes = (size_t)status.st_size;
    void *memory = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (memory != MAP_FAILED) result = as_buffer(env, memory, bytes);
  }
  close(file);
  return result;
}

// reserve(bytes): fresh memory as an ArrayBuffer, or undefined when there is none. In large pages where the system has them: training touches hundreds
// of megabytes a step, for which small ones cost a fault and then a translation each 4 KiB.
static napi_value js_reserve(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  double wanted = 0;
  napi_get_cb_info(env, info, &count, &argument, 0, 0);
  if (napi_get_value_double(env, argument, &wanted) != napi_ok || !(wanted >= 1 && wanted < 1e15)) return 0;
  size_t bytes = (size_t)wanted;
  void *memory = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return as_buffer(env, memory, bytes);
}

static void end(void *q) { queue_end(q); }

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
    {"call", 0, js_call, 0, 0, 0, napi_default, 0}, {"post", 0, js_post, 0, 0, 0, napi_default, 0}, {"finish", 0, js_finish, 0, 0, 0, napi_default, 0},
    {"failure", 0, js_failure, 0, 0, 0, napi_default, 0}, {"idle", 0, js_idle, 0, 0, 0, napi_default, 0}, {"busy", 0, js_busy, 0, 0, 0, napi_default, 0}, {"setThreads", 0, js_set_threads, 0, 0, 0, napi_default, 0},
    {"useMatrixUnit", 0, js_use_matrix_unit, 0, 0, 0, napi_default, 0}, {"mapFile", 0, js_map_file, 0, 0, 0, napi_default, 0}, {"reserve", 0, js_reserve, 0, 0, 0, napi_default, 0},
  };
  queue *q = queue_make();
  if (!q) return napi_throw_error(env, 0, "There is no memory for the queue of kernels."), (napi_value)0;
  napi_set_instance_data(env, q, 0, 0);
  napi_add_env_cleanup_hook(env, end, q);
  napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
  napi_value value;
  napi_create_string_utf8(env, kernel_names, NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, exports, "names", value);
  napi_create_int32(env, 7, &value);  // as addonVersion in addon.ts: raised with every change of what kernels take
  napi_set_named_property(env, exports, "version", value);
  return exports;
}
