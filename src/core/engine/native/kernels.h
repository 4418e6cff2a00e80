// Every kernel by name. The TypeScript side asks for this list, so ids are written down nowhere.
#pragma once
#include "attention.h"
#include "conv.h"
#include "decode.h"
#include "gemm.h"
#include "images.h"
#include "layout.h"
#include "loss.h"
#include "norms.h"
#include "packed.h"
#include "peak.h"
#include "pointwise.h"
#include "reduce.h"

#define KERNELS(X)                                                                                                                        \
  X(gemm) X(conv) X(conv_grad_filter) X(conv_grad_input) X(attention) X(attention_grad) X(rope)                                           \
  X(rms_norm) X(rms_norm_grad_input) X(rms_norm_grad_weight) X(layer_norm) X(layer_norm_grad_input) X(layer_norm_grad_params)             \
  X(group_norm) X(group_norm_grad_input) X(group_norm_grad_params) X(unary) X(binary) X(activation) X(activation_grad) X(gated)           \
  X(gated_grad) X(select) X(sum) X(sum_of_squares) X(max) X(softmax) X(move) X(copy) X(fill) X(gather) X(scatter_add) X(upsample) X(upsample_grad) X(pool) X(resize_bilinear) X(argmax)                  \
  X(cross_entropy) X(cross_entropy_grad) X(adamw) X(packed_product) X(packed_rows) X(pack) X(decode_layer) X(peak)

#define KERNEL_ENTRY(name) k_##name,
#define KERNEL_NAME(name) #name " "
static int (*const kernels[])(const args *) = {KERNELS(KERNEL_ENTRY)};
static const char kernel_names[] = KERNELS(KERNEL_NAME);
#define KERNEL_COUNT (sizeof kernels / sizeof *kernels)
