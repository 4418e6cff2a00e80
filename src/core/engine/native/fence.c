// Runs kernels on random sizes with every tensor in an allocation of exactly its size, for a build with address or thread sanitizers: reading or
// writing past an end, or two threads meeting at one place, ends the program. Half of the calls go through the queue. Prints the number of calls.
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include "host/queue_life.h"

static uint64_t state = 88172645463325252ull;
static uint32_t next(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (uint32_t)(state >> 32);
}
static int64_t below(int64_t n) { return next() % n; }
static int64_t some(int64_t most) { return 1 + below(most); }

static args call;
static int pointers, numbers, calls;
static void *allocated[KERNEL_POINTERS];

static float *floats(int64_t count) {
  float *values = malloc(sizeof(float) * (size_t)(count ? count : 1));
  for (int64_t i = 0; i < count; i++) values[i] = (float)below(2000) / 1000 - 1;
  return allocated[pointers] = call.p[pointers] = values, pointers++, values;
}
static void ids(int64_t count, int64_t limit) {
  int32_t *values = malloc(sizeof(int32_t) * (size_t)(count ? count : 1));
  for (int64_t i = 0; i < count; i++) values[i] = (int32_t)below(limit);
  allocated[pointers] = call.p[pointers] = values, pointers++;
}
static void none(void) { call.p[pointers] = allocated[pointers] = 0, pointers++; }

// The queue, the memory of what was posted, and a thread that waits for some of it.
static queue *waiting;
static int is_queued, held;
static void *to_free[64 * KERNEL_POINTERS];
static uint64_t awaited;
static void *wait_for_some(void *unused) { return queue_wait(waiting, awaited), unused; }
static pthread_t waiter;

static void finish(void) {
  int has_waiter = awaited != 0;
  if (queue_finish(waiting) != 0) fprintf(stderr, "a queued kernel refused its arguments\n"), exit(1);
  if (has_waiter) pthread_join(waiter, 0), awaited = 0;
  while (held > 0) free(to_free[--held]);
}

static void post(int (*kernel)(const args *)) {
  command *c = queue_slot(waiting);
  for (c->kernel = 0; kernels[c->kernel] != kernel;) c->kernel++;
  c->a = call;
  for (int i = 0; i < pointers; i++) to_free[held++] = allocated[i];
  if (queue_add(waiting) && !queue_wake(waiting)) exit(1);
  if (!awaited && below(8) == 0) {
    awaited = waiting->posted;
    if (!queue_wake(waiting) || pthread_create(&waiter, 0, wait_for_some, 0)) exit(1);
  }
  if (held > 63 * KERNEL_POINTERS || below(20) == 0) finish();
}

static void invoke(int (*kernel)(const args *), const char *name) {
  if (is_queued) post(kernel);
  else {
    if (kernel(&call) != 0) fprintf(stderr, "%s refused its arguments\n", name), exit(1);
    for (int i = 0; i < pointers; i++) free(allocated[i]);
  }
  memset(&call, 0, sizeof call);
  pointers = numbers = 0;
  calls++;
}
static void list(const double *values, size_t count) {
  for (size_t i = 0; i < count; i++) call.n[numbers++] = values[i];
}
#define NUMBERS(...) list((double[]){__VA_ARGS__}, sizeof(double[]){__VA_ARGS__} / sizeof(double))

static void gemm_call(void) {
  int64_t batch = below(4) ? 1 : 9, m = below(3) ? some(70) : some(7), n = some(90), k = below(9) ? some(80) : some(600);
  int ta = (int)below(2), tb = (int)below(2), add = (int)below(2);
  floats(batch * m * k), floats(batch * k * n), floats(batch * m * n);
  if (below(2) && !add) floats(n); else none();
  if (below(2) && !add) floats(batch * m * n); else none();
  NUMBERS(batch, m * k, k * n, m * n, m, n, k, ta ? m : k, tb ? k : n, n, ta, tb, add);
  invoke(k_gemm, "gemm");
}

static void conv_call(int which) {
  int tiled = (int)below(2);  // as winograd.h takes them, if the channels are many
  int64_t images = some(2), h = some(12), w = some(12), in = some(below(4) ? 40 : 200), out = some(below(4) ? 40 : 200);
  int64_t kh = tiled ? 3 : some(4), kw = tiled ? 3 : some(4), stride = tiled ? 1 : some(3), top = below(kh), left = below(kw);
  int64_t oh = (h + top + below(kh) - kh) / stride + 1, ow = (w + left + below(kw) - kw) / stride + 1;
  if (oh < 1 || ow < 1) return;
  int64_t x = images * h * w * in, y = images * oh * ow * out, f = kh * kw * in * out;
  if (which == 0) floats(x), floats(f), floats(y), floats(out), floats(y);
  if (which == 1) floats(x), floats(y), floats(f);
  if (which == 2) floats(y), floats(f), floats(x), floats(x);
  NUMBERS(images, h, w, in, oh, ow, out, kh, kw, stride, top, left);
  int (*const kernel[])(const args *) = {k_conv, k_conv_grad_filter, k_conv_grad_input};
  invoke(kernel[which], "conv");
}

// Sequences of unequal length behind each other.
static void attention_sequences_call(int gradient) {
  int64_t batch = some(4), longest = 0, rows = 0, kv = some(2), heads = kv * some(2), d = some(40), length[4];
  for (int64_t b = 0; b < batch; b++) length[b] = some(200), longest = max64(longest, length[b]), rows += length[b];
  int64_t q = rows * heads * d, k = rows * kv * d, lse = rows * heads;
  floats(q), floats(k), floats(k), none(), floats(q), floats(lse);
  if (gradient) floats(q), floats(q), floats(k), floats(k), floats(lse);
  int32_t *starts = (int32_t *)floats(batch + 1);
  starts[0] = 0;
  for (int64_t b = 0; b < batch; b++) starts[b + 1] = starts[b] + (int32_t)length[b];
  NUMBERS(batch, longest, longest, heads, kv, d, below(2), 0.3, 0, 0, longest);
  invoke(gradient ? k_attention_grad : k_attention, "attention of sequences");
}

static void attention_call(int gradient) {
  int64_t batch = some(2), tokens = some(80), keys = tokens + below(300), kv = some(2), heads = kv * some(2), d = some(40), rows = below(2) ? tokens : 1;
  int64_t q = batch * tokens * heads * d, k = batch * keys * kv * d, lse = batch * heads * tokens;
  floats(q), floats(k), floats(k);
  if (below(2)) floats(rows * keys); else none();
  floats(q), floats(lse);
  if (gradient) floats(q), floats(q), floats(k), floats(k), floats(lse);
  NUMBERS(batch, tokens, keys, heads, kv, d, below(2), 0.3, 0, rows > 1 ? keys : 0, keys);
  invoke(gradient ? k_attention_grad : k_attention, "attention");
}

static void decode_call(void) {
  int64_t rows = some(5), kv = some(3), heads = kv * some(2), d = 2 * some(20), dim = some(70), inner = some(90), length = below(80), room = length + some(5);
  int64_t q = heads * d, k = kv * d, angles = below(2) ? rows : 1, biases = below(2) ? rows : 1;
  floats(rows * dim), floats(dim), floats(q * dim), floats(k * dim), floats(k * dim), floats(dim * q), floats(dim);
  floats(inner * dim), floats(inner * dim), floats(dim * inner), floats(angles * d), floats(angles * d), floats(rows * room * k), floats(rows * room * k);
  if (below(2)) floats(biases * (length + 1)); else none();
  floats(rows * dim);
  NUMBERS(rows, dim, heads, kv, d, inner, length, room, 1e-5, 0.3, angles > 1 ? d : 0, biases > 1 ? length + 1 : 0);
  invoke(k_decode_layer, "decode_layer");
}

static void norm_calls(void) {
  int64_t r = some(200), d = some(100), x = r * d;
  floats(x), floats(d), floats(x), floats(r), NUMBERS(r, d, 1e-5), invoke(k_rms_norm, "rms_norm");
  floats(x), floats(d), floats(r), floats(x), floats(x), floats(x), NUMBERS(r, d), invoke(k_rms_norm_grad_input, "rms_norm_grad_input");
  floats(x), floats(r), floats(x), floats(d), NUMBERS(r, d), invoke(k_rms_norm_grad_weight, "rms_norm_grad_weight");
  floats(x), floats(d), floats(d), floats(x), floats(r), floats(r), NUMBERS(r, d, 1e-5), invoke(k_layer_norm, "layer_norm");
  floats(x), floats(d), floats(r), floats(r), floats(x), floats(x), floats(x), NUMBERS(r, d), invoke(k_layer_norm_grad_input, "layer_norm_grad_input");
  floats(x), floats(r), floats(r), floats(x), floats(d), floats(d), NUMBERS(r, d), invoke(k_layer_norm_grad_params, "layer_norm_grad_params");
  int64_t n = some(3), p = some(300), g = some(5), c = g * some(9), silu = below(2);
  x = n * p * c;
  floats(x), floats(c), floats(c), floats(x), floats(n * g), floats(n * g), NUMBERS(n, p, c, g, 1e-5, silu), invoke(k_group_norm, "group_norm");
  floats(x), floats(c), floats(c), floats(n * g), floats(n * g), floats(x), floats(x), floats(x), NUMBERS(n, p, c, g, 1e-5, silu), invoke(k_group_norm_grad_input, "group_norm_grad_input");
  floats(x), floats(c), floats(c), floats(n * g), floats(n * g), floats(x), floats(c), floats(c), NUMBERS(n, p, c, g, 1e-5, silu), invoke(k_group_norm_grad_params, "group_norm_grad_params");
}

static void element_calls(void) {
  int64_t n = below(9) ? some(300) : some(60000), r = some(40), d = some(60);
  floats(n), floats(n), NUMBERS(n, below(15), 0, 1), invoke(k_unary, "unary");
  floats(n), floats(n), NUMBERS(n, below(3)), invoke(k_activation, "activation");
  floats(n), floats(n), floats(n), NUMBERS(n, below(3)), invoke(k_activation_grad, "activation_grad");
  floats(r * d), floats(d), floats(r * d), NUMBERS(r * d, below(7), 2, r, d, d, 1, 0, 1), invoke(k_binary, "binary");
  floats(r), floats(r * d), floats(r * d), NUMBERS(r * d, below(7), 2, r, d, 1, 0, d, 1), invoke(k_binary, "binary");
  floats(r * d), floats(r * d), floats(r * d), NUMBERS(r, d, d, below(3), 0, 0), invoke(k_gated, "gated");
  floats(r * d), floats(r * d), floats(r * d), floats(r * d), floats(r * d), NUMBERS(r, d, d, below(3), 0, 0), invoke(k_gated_grad, "gated_grad");
  floats(n), floats(n), floats(n), floats(n), NUMBERS(n, 0.1, 0.9, 0.99, 1e-8, 1, 0.1, 0.01, 1), invoke(k_adamw, "adamw");
  int64_t outer = some(20), count = some(200), inner = below(2) ? 1 : some(40);
  floats(outer * count * inner), floats(outer * inner), NUMBERS(outer, count, inner, 1), invoke(k_sum, "sum");
  floats(outer * count * inner), floats(outer * inner), NUMBERS(outer, count, inner), invoke(k_max, "max");
  floats(n), floats(1), NUMBERS(n), invoke(k_sum_of_squares, "sum_of_squares");
  floats(r * d), floats(r * d), NUMBERS(r, d), invoke(k_softmax, "softmax");
}

static void layout_calls(void) {
  int64_t a = some(5), b = some(40), c = some(40), r = some(200), d = some(30), v = some(50);
  floats(a * b * c), floats(a * b * c), NUMBERS(a * b * c, 3, a, c, b, b * c, 1, c, b * c, b, 1, 0, 0), invoke(k_copy, "copy");  // transpose the last two axes
  floats(a * b * c), floats(a * c), NUMBERS(a * c, 2, a, c, b * c, 1, c, 1, (b - 1) * c, 0), invoke(k_copy, "copy");  // the last row of each
  floats(v * d), ids(r, v), floats(r * d), NUMBERS(r, d, v), invoke(k_gather, "gather");
  floats(r * d), ids(r, v + 2), floats(v * d), NUMBERS(r, d, v), invoke(k_scatter_add, "scatter_add");
  int64_t n = some(2), h = some(9), w = some(9), oh = some(20), ow = some(20);
  floats(n * h * w * d), floats(n * oh * ow * d), NUMBERS(n, h, w, d, oh, ow), invoke(k_upsample, "upsample");
  floats(n * oh * ow * d), floats(n * h * w * d), NUMBERS(n, h, w, d, oh, ow), invoke(k_upsample_grad, "upsample_grad");
  int64_t kh = some(3), kw = some(3);
  floats(n * h * w * d), floats(n * h * w * d), NUMBERS(n, h, w, d, h, w, kh, kw, 1, 1, kh / 2, kw / 2, below(2)), invoke(k_pool, "pool");
  floats(n * h * w * d), floats(n * oh * ow * d), NUMBERS(n, h, w, d, oh, ow, (double)h / (double)oh, (double)w / (double)ow, below(2)), invoke(k_resize_bilinear, "resize_bilinear");
  floats(r * v), floats(r), NUMBERS(r, v), invoke(k_argmax, "argmax");
  floats(r * v), ids(r, v), floats(r), floats(r), NUMBERS(r, v), invoke(k_cross_entropy, "cross_entropy");
  floats(r * v), ids(r, v), floats(r), floats(r), floats(r * v), NUMBERS(r, v), invoke(k_cross_entropy_grad, "cross_entropy_grad");
  int64_t batch = some(3), tokens = some(30), heads = some(4), half = some(20);
  floats(batch * tokens * heads * 2 * half), floats(tokens * 2 * half), floats(tokens * 2 * half), floats(batch * tokens * heads * 2 * half);
  NUMBERS(batch, tokens, heads, 2 * half, 0, below(2)), invoke(k_rope, "rope");
}

static void moving_calls(void) {
  int64_t n = below(4) ? some(200) : some(100000);
  floats(n), NUMBERS(n, 0.5, below(2)), invoke(k_fill, "fill");
  floats(n), floats(n), NUMBERS(4 * n - below(4)), invoke(k_move, "move");
}

static void packed_calls(void) {
  int64_t m = below(2) ? some(5) : some(40), rows = some(70), columns = 32 * some(8), kind = below(4), back = below(2);
  if (kind < INT8) columns -= below(31);
  int64_t bytes = kind < INT8 ? 2 * rows * columns : kind == INT8 ? rows * columns : rows * columns / 2, groups = rows * columns / GROUP;
  floats(m * (back ? rows : columns)), floats(ceil_div(bytes, 4)), floats(groups), floats(m * (back ? columns : rows));
  if (!back) floats(rows); else none();
  NUMBERS(m, rows, columns, kind, back), invoke(k_packed_product, "packed_product");
  floats(ceil_div(bytes, 4)), floats(groups), ids(m, rows), floats(m * columns), NUMBERS(m, rows, columns, kind), invoke(k_packed_rows, "packed_rows");
  if (kind >= INT8) floats(rows * columns), floats(ceil_div(bytes, 4)), floats(groups), NUMBERS(rows, columns, kind), invoke(k_pack, "pack");
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 100;
  if (!set_threads(argc > 2 ? atoi(argv[2]) : 2)) return 1;
  use_tiles(1);
  if (!(waiting = queue_make())) return 1;
  for (int i = 0; i < rounds; i++) {
    is_queued = i % 2;
    gemm_call();
    conv_call(i % 3);
    attention_call(i % 2);
    attention_sequences_call(i % 2);
    decode_call();
    norm_calls();
    element_calls();
    layout_calls();
    moving_calls();
    packed_calls();
    if (is_queued) finish();
  }
  queue_end(waiting);
  printf("%d\n", calls);
  return 0;
}
