import * as tf from '@tensorflow/tfjs';
import { defineGradient, defineKernel, run, shapeError, shared } from './kernel.js';

/** `silu`: x·σ(x). `gelu`: x·Φ(x), exact (Hendrycks and Gimpel 2016). `quickGelu`: x·σ(1.702 x), CLIP's. */
export type ActivationKind = 'silu' | 'gelu' | 'quickGelu';

export function activation<T extends tf.Tensor>(x: T, kind: ActivationKind): T {
  return run('DreamActivation', { x }, { kind }) as T;
}

/** `kind(gate) · value`; both of one shape. */
export function gated<T extends tf.Tensor>(gate: T, value: T, kind: ActivationKind): T {
  if (gate.size !== value.size || gate.shape.some((size, i) => size !== value.shape[i])) {
    shapeError('gated', 'gate and value of one shape', { gate, value });
  }
  return run('DreamGated', { gate, value }, { kind }) as T;
}

/** Which half of a joint projection is the gate: Stable Diffusion's GEGLU has it second. */
export type GateOrder = 'value-gate' | 'gate-value';

/** `gated` on the two halves of one tensor. x […, 2·dim] -> […, dim]. */
export function gatedSplit<T extends tf.Tensor>(x: T, kind: ActivationKind, order: GateOrder): T {
  if (x.shape[x.rank - 1] % 2 !== 0) shapeError('gatedSplit', 'x […, 2·dim]', { x });
  return run('DreamGatedSplit', { x }, { kind, order }) as T;
}

const SIGMOID_FACTOR = { silu: 1, quickGelu: 1.702 };

function activate(x: tf.Tensor, kind: ActivationKind): tf.Tensor {
  if (kind === 'gelu') return x.mul(normalCdf(x));
  return x.mul(x.mul(SIGMOID_FACTOR[kind]).sigmoid());
}

function derivative(x: tf.Tensor, kind: ActivationKind): tf.Tensor {
  if (kind === 'gelu') return normalCdf(x).add(x.mul(x.square().mul(-0.5).exp()).mul(1 / Math.sqrt(2 * Math.PI)));
  const factor = SIGMOID_FACTOR[kind];
  const s = x.mul(factor).sigmoid();
  return s.add(x.mul(s).mul(tf.sub(1, s)).mul(factor));
}

const normalCdf = (x: tf.Tensor) => x.mul(Math.SQRT1_2).erf().add(1).mul(0.5);

defineKernel('DreamActivation', ({ x }, { kind }) => activate(x, kind));
defineGradient('DreamActivation', { inputs: ['x'] }, (dy, [x], attributes) => ({
  x: () => run('DreamActivationGrad', { x, dy }, attributes) as tf.Tensor,
}));
defineKernel('DreamActivationGrad', ({ x, dy }, { kind }) => dy.mul(derivative(x, kind)));

defineKernel('DreamGated', ({ gate, value }, { kind }) => activate(gate, kind).mul(value));
defineGradient('DreamGated', { inputs: ['gate', 'value'] }, (dy, [gate, value], attributes) =>
  shared(['gate', 'value'], () => run('DreamGatedGrad', { gate, value, dy }, attributes) as tf.Tensor[]),
);
defineKernel('DreamGatedGrad', ({ gate, value, dy }, { kind }) => [dy.mul(value).mul(derivative(gate, kind)), dy.mul(activate(gate, kind))]);

function halves(x: tf.Tensor, order: GateOrder) {
  const [a, b] = tf.split(x, 2, -1);
  return order === 'gate-value' ? { gate: a, value: b } : { gate: b, value: a };
}

defineKernel('DreamGatedSplit', ({ x }, { kind, order }) => {
  const { gate, value } = halves(x, order);
  return activate(gate, kind).mul(value);
});
defineGradient('DreamGatedSplit', { inputs: ['x'] }, (dy, [x], attributes) => ({
  x: () => run('DreamGatedSplitGrad', { x, dy }, attributes) as tf.Tensor,
}));
defineKernel('DreamGatedSplitGrad', ({ x, dy }, { kind, order }) => {
  const { gate, value } = halves(x, order);
  const dGate = dy.mul(value).mul(derivative(gate, kind));
  const dValue = dy.mul(activate(gate, kind));
  return tf.concat(order === 'gate-value' ? [dGate, dValue] : [dValue, dGate], -1);
});
