import * as tf from '@tensorflow/tfjs';
import { defineKernel, product, run } from './kernel.js';

/** Running averages of a parameter's gradient and of its square, like the parameter; zeros before the first step. */
export interface Moments {
  first: tf.Variable;
  second: tf.Variable;
}

export interface AdamWOptions {
  learningRate: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  /** Number of this step, from 1. */
  step: number;
  /** What gradients are multiplied by first, such as `clipFactor`. Default 1. */
  gradientScale?: number;
}

export type AdamW = (parameters: readonly tf.Variable[], gradients: readonly tf.Tensor[], moments: readonly Moments[], options: AdamWOptions) => void;

const implementations = new Map<string, AdamW>();

/** Gives a backend its own AdamW. It changes the buffers of parameters and moments where they are. */
export function registerAdamW(backendName: string, implementation: AdamW): void {
  implementations.set(backendName, implementation);
}

/**
 * One step of AdamW (Loshchilov and Hutter 2019) in the form of `torch.optim.AdamW`, on all parameters in place. A backend may write into
 * the parameters' buffers, so nothing else may share them: copy a variable with `add(0)`, not with `clone`, to keep its values.
 */
export const adamw: AdamW = (parameters, gradients, moments, options) => {
  if (gradients.length !== parameters.length || moments.length !== parameters.length) {
    throw new Error(
      `adamw: expected a gradient and moments for each of ${parameters.length} parameters, found ${gradients.length} and ${moments.length}.`,
    );
  }
  parameters.forEach(({ shape }, i) => {
    for (const other of [gradients[i], moments[i].first, moments[i].second]) {
      if (other.size === product(shape) && tf.util.arraysEqual(other.shape, shape)) continue;
      throw new Error(`adamw: expected gradient and moments of parameter ${i} to be [${shape}], found [${other.shape}].`);
    }
  });
  (implementations.get(tf.getBackend()) ?? composedAdamW)(parameters, gradients, moments, options);
};

const composedAdamW: AdamW = (parameters, gradients, moments, { learningRate, beta1, beta2, eps, weightDecay, step, gradientScale = 1 }) => {
  const correction1 = 1 - beta1 ** step;
  const correction2 = 1 - beta2 ** step;
  parameters.forEach((parameter, i) => {
    tf.tidy(() => {
      const gradient = gradientScale === 1 ? gradients[i] : gradients[i].mul(gradientScale);
      const first = moments[i].first.mul(beta1).add(gradient.mul(1 - beta1));
      const second = moments[i].second.mul(beta2).add(gradient.square().mul(1 - beta2));
      moments[i].first.assign(first);
      moments[i].second.assign(second);
      const denominator = second.sqrt().div(Math.sqrt(correction2)).add(eps);
      parameter.assign(parameter.mul(1 - learningRate * weightDecay).sub(first.div(denominator).mul(learningRate / correction1)));
    });
  });
};

/** The Euclidean norm of all tensors as one vector. -> [] */
export const globalNorm = (tensors: Iterable<tf.Tensor>): tf.Scalar => run('DreamGlobalNorm', Object.fromEntries([...tensors].map((x, i) => [i, x]))) as tf.Scalar;

defineKernel('DreamGlobalNorm', (inputs: Record<string, tf.Tensor>) => tf.addN(Object.values(inputs).map((x) => x.square().sum())).sqrt());

/** What brings gradients of the global norm `norm` to at most `maxNorm`: `min(1, maxNorm / (norm + 1e-6))`, as `clip_grad_norm_` of PyTorch has it. */
export const clipFactor = (norm: number, maxNorm: number): number => Math.min(1, Math.fround(maxNorm / (norm + 1e-6)));
