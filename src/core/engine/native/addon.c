// The engine as a Node addon.
#define _GNU_SOURCE
#include <node_api.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "kernels.h"
#include "threads.h"

static pthread_mutex_t call_lock = PTHREAD_MUTEX_INITIALIZER;  // isolates share the threads

// setThreads(count): whether it could.
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

// useMatrixUnit(wanted): whether products go to the processor's matrix unit from now on.
static napi_value js_use_matrix_unit(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, result;
  bool wanted = false;
  napi_get_cb_info(env, info, &count, &argument, 0, 0);
  napi_get_value_bool(env, argument, &wanted);
  pthread_mutex_lock(&call_lock);
  int used = use_tiles(wanted);
  pthread_mutex_unlock(&call_lock);
  napi_get_boolean(env, used, &result);
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
    pthread_mutex_lock(&call_lock);
    status = kernels[kernel](&a);
    pthread_mutex_unlock(&call_lock);
  }
  napi_create_int32(env, status, &result);
  return result;
}

static void unmap(napi_env env, void *memory, void *length) {
  (void)env;
  munmap(memory, (size_t)(uintptr_t)length);
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
    if (memory != MAP_FAILED && napi_create_external_arraybuffer(env, memory, bytes, unmap, (void *)(uintptr_t)bytes, &result) != napi_ok) munmap(memory, bytes);
  }
  close(file);
  return result;
}

// reserve(bytes): fresh memory as an ArrayBuffer, or undefined when there is none. In large pages where the system has them: training touches hundreds
// of megabytes a step, for which small ones cost a fault and then a translation each 4 KiB.
static napi_value js_reserve(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, result = 0;
  double wanted = 0;
  napi_get_cb_info(env, info, &count, &argument, 0, 0);
  if (napi_get_value_double(env, argument, &wanted) != napi_ok || !(wanted >= 1 && wanted < 1e15)) return 0;
  size_t bytes = (size_t)wanted;
  void *memory = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
#ifdef MADV_HUGEPAGE
  madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  if (napi_create_external_arraybuffer(env, memory, bytes, unmap, (void *)(uintptr_t)bytes, &result) != napi_ok) munmap(memory, bytes);
  return result;
}

NAPI_MODULE_INIT() {
  napi_value value;
  napi_create_function(env, "call", NAPI_AUTO_LENGTH, js_call, 0, &value);
  napi_set_named_property(env, exports, "call", value);
  napi_create_function(env, "setThreads", NAPI_AUTO_LENGTH, js_set_threads, 0, &value);
  napi_set_named_property(env, exports, "setThreads", value);
  napi_create_function(env, "useMatrixUnit", NAPI_AUTO_LENGTH, js_use_matrix_unit, 0, &value);
  napi_set_named_property(env, exports, "useMatrixUnit", value);
  napi_create_function(env, "mapFile", NAPI_AUTO_LENGTH, js_map_file, 0, &value);
  napi_set_named_property(env, exports, "mapFile", value);
  napi_create_function(env, "reserve", NAPI_AUTO_LENGTH, js_reserve, 0, &value);
  napi_set_named_property(env, exports, "reserve", value);
  napi_create_string_utf8(env, kernel_names, NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, exports, "names", value);
  napi_create_int32(env, 6, &value);  // as addonVersion in addon.ts: raised with every change of what kernels take
  napi_set_named_property(env, exports, "version", value);
  return exports;
}
