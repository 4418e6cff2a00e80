import type * as tf from '@tensorflow/tfjs';
import { activation, gated, linears, type ActivationKind } from '../core/ops/index.js';
import type { Init, Params } from '../core/params.js';
import { biasedLinearSpec, linear, linearSpec } from './linear.js';

/** LLaMA's feed-forward block, SwiGLU (Shazeer 2020). */
export const swigluSpec = (dim: number, inner: number, init?: Init) => ({
  gate_proj: linearSpec(dim, inner, init),
  up_proj: linearSpec(dim, inner, init),
  down_proj: linearSpec(inner, dim, init),
});

/** `down(silu(gate(x)) · up(x)) + residual`. x […, dim] -> like x */
export function swiglu<T extends tf.Tensor>(p: Params<ReturnType<typeof swigluSpec>>, x: T, residual?: T): T {
  const [gate, value] = linears(x, [p.gate_proj, p.up_proj]);
  return linear(p.down_proj, gated(gate, value, 'silu'), residual);
}

/** CLIP's feed-forward block. */
export const mlpSpec = (dim: number, inner: number) => ({ fc1: biasedLinearSpec(dim, inner), fc2: biasedLinearSpec(inner, dim) });

/** `fc2(kind(fc1(x))) + residual`. x […, dim] -> like x */
export const mlp = <T extends tf.Tensor>(p: Params<ReturnType<typeof mlpSpec>>, x: T, kind: ActivationKind, residual?: T): T =>
  linear(p.fc2, activation(linear(p.fc1, x), kind), residual);
