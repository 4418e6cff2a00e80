import type * as tf from '@tensorflow/tfjs';
import { adamw, type Moments } from '../core/ops/index.js';
import { zerosLike } from './tensors.js';

export interface OptimizerSettings {
  beta1: number;
  beta2: number;
  eps: number;
  /** 0 in every stage of the paper. */
  weightDecay: number;
}

/** `adamw_torch` as the reference configures it. */
export const adamwDefaults: OptimizerSettings = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0 };

/** AdamW over named parameters, with the moments that a checkpoint must hold. */
export class Optimizer {
  /** Steps taken. */
  steps = 0;
  private readonly moments: ReadonlyMap<string, Moments>;

  constructor(
    private readonly parameters: ReadonlyMap<string, tf.Variable>,
    private readonly settings: OptimizerSettings = adamwDefaults,
  ) {
    this.moments = new Map([...parameters].map(([key, parameter]) => [key, { first: zerosLike(parameter), second: zerosLike(parameter) }]));
  }

  /** Changes the parameters in place, by the gradients times `gradientScale`. The gradients stay the caller's. */
  update(gradients: ReadonlyMap<string, tf.Tensor>, learningRate: number, gradientScale = 1): void {
    this.steps++;
    const keys = [...this.parameters.keys()];
    adamw(
      keys.map((key) => this.parameters.get(key)!),
      keys.map((key) => gradients.get(key)!),
      keys.map((key) => this.moments.get(key)!),
      { ...this.settings, learningRate, step: this.steps, gradientScale },
    );
  }

  /** The moments by key, as a checkpoint names them. */
  get state(): Map<string, tf.Variable> {
    return new Map([...this.moments].flatMap(([key, { first, second }]) => [[`first.${key}`, first], [`second.${key}`, second]] as const));
  }

  dispose(): void {
    for (const variable of this.state.values()) variable.dispose();
  }
}
