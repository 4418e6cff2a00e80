import type * as tf from '@tensorflow/tfjs';
import { copyOf } from './tensors.js';

/**
 * Exponential moving average of parameters, kept beside them: average ← average + (1 − decay) (parameter − average). The decay starts small,
 * min(decay, (1 + n) / (10 + n)), so that the random start is forgotten.
 */
export class Ema {
  readonly averages: ReadonlyMap<string, tf.Variable>;
  updates = 0;

  constructor(
    private readonly parameters: ReadonlyMap<string, tf.Variable>,
    private readonly decay: number,
  ) {
    this.averages = new Map([...parameters].map(([key, parameter]) => [key, copyOf(parameter)]));
  }

  update(): void {
    this.updates++;
    const decay = Math.min(this.decay, (1 + this.updates) / (10 + this.updates));
    for (const [key, parameter] of this.parameters) {
      const average = this.averages.get(key)!;
      const difference = parameter.sub(average);
      const change = difference.mul(1 - decay);
      const next = average.add(change);
      average.assign(next);
      for (const tensor of [difference, change, next]) tensor.dispose();
    }
  }

  /** Exchanges the values of parameters and averages, to use the averages for a while; called again it undoes itself. */
  swap(): void {
    for (const [key, parameter] of this.parameters) {
      const average = this.averages.get(key)!;
      const [a, p] = [average.add(0), parameter.add(0)]; // copies: parameter and average must not share memory
      parameter.assign(a);
      average.assign(p);
      a.dispose();
      p.dispose();
    }
  }

  dispose(): void {
    for (const average of this.averages.values()) average.dispose();
  }
}
