import * as tf from '@tensorflow/tfjs';

/**
 * Exponential moving average of parameters, kept beside them: average ← decay · average + (1 − decay) · parameter, with the decay raised from
 * small values in the first steps, min(decay, (1 + n) / (10 + n)), so that the random start is forgotten.
 */
export class Ema {
  readonly averages: Map<string, tf.Variable>;

  constructor(
    private readonly parameters: ReadonlyMap<string, tf.Variable>,
    private readonly decay: number,
    private updates = 0,
  ) {
    this.averages = new Map([...parameters].map(([key, parameter]) => [key, tf.variable(parameter, false)]));
  }

  update(): void {
    this.updates++;
    const decay = Math.min(this.decay, (1 + this.updates) / (10 + this.updates));
    tf.tidy(() => {
      for (const [key, parameter] of this.parameters) {
        const average = this.averages.get(key)!;
        average.assign(average.add(parameter.sub(average).mul(1 - decay)));
      }
    });
  }

  /** What a checkpoint must hold beside `averages`. */
  get state(): { updates: number } {
    return { updates: this.updates };
  }

  restore(state: { updates: number }, averages: ReadonlyMap<string, tf.Tensor>): void {
    for (const [key, average] of this.averages) {
      const stored = averages.get(key);
      if (!stored) throw new Error(`The checkpoint has no moving average of "${key}". It was saved by a run without one: start a new run.`);
      average.assign(stored);
    }
    this.updates = state.updates;
  }

  dispose(): void {
    tf.dispose([...this.averages.values()]);
  }
}
