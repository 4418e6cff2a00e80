import type * as tf from '@tensorflow/tfjs';
import { activation, gated, type ActivationKind } from '../core/ops/index.js';
import type { Init, Params } from '../core/params.js';
import { biasedLinearSpec, linear, linearSpec } from './linear.js';

/** LLaMA's feed-forward block, SwiGLU (Shazeer 2020). */
export const swigluSpec = (dim: number, inner: number, init?: Init) => ({
  gate_proj: linearSpec(dim, inner, init),
  up_proj: linearSpec(dim, inner, init),
  down_proj: linearSpec(inner, dim, init),
});

/** `down(silu(gate(x)) · up(x))`. x […, dim] -> like x */
export const swiglu = <T extends tf.Tensor>(p: Params<ReturnType<typeof swigluSpec>>, x: T): T =>
  linear(p.down_proj, gated(linear(p.gate_proj, x), linear(p.up_proj, x), 'silu'));

/** CLIP's feed-forward block. */
export const mlpSpec = (dim: number, inner: number) => ({ fc1: biasedLinearSpec(dim, inner), fc2: biasedLinearSpec(inner, dim) });

/** `fc2(kind(fc1(x)))`. x […, dim] -> like x */
export const mlp = <T extends tf.Tensor>(p: Params<ReturnType<typeof mlpSpec>>, x: T, kind: ActivationKind): T =>
  linear(p.fc2, activation(linear(p.fc1, x), kind));
