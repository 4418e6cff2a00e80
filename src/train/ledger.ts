import * as tf from '@tensorflow/tfjs';
import { runningKernel } from '../core/ops/index.js';

/**
 * Watches that no tensor outlives a step. Counting costs nothing; only when the count has grown is the next step recorded tensor by tensor,
 * and if that one leaves tensors behind too, the run fails and names the operations that made them. A cache filled once is let through.
 */
export class LeakLedger {
  private expected: number | undefined;
  private allowance = 64; // tensors that caches may come to hold over the whole run
  private recording: Recording | undefined;

  /** Called before a step. */
  begin(): void {
    this.expected ??= tf.memory().numTensors;
  }

  /** Called after a step, when everything that it made should be gone. */
  end(step: number): void {
    const found = tf.memory().numTensors;
    const grown = found - this.expected!;
    const recording = this.recording;
    this.recording = undefined;
    recording?.stop();
    if (grown <= 0) {
      this.expected = found;
      return;
    }
    this.allowance -= grown;
    if (recording || this.allowance < 0) {
      throw new Error(
        `Step ${step} left ${grown} tensors behind, as the one before it did: ${recording?.survivors() ?? 'caches grew beyond 64 tensors'}. ` +
          'Every tensor has one owner: dispose these or wrap their maker in tf.tidy.',
      );
    }
    this.expected = found;
    this.recording = record();
  }
}

interface Recording {
  stop(): void;
  /** Operations and shapes of the tensors that were made while recording and are still there, most frequent first. */
  survivors(): string;
}

/** Notes which operation makes each tensor, by wrapping three methods of the tfjs engine for the time being. */
function record(): Recording {
  const engine = tf.engine() as unknown as {
    runKernel(name: string, ...rest: unknown[]): unknown;
    trackTensor(tensor: tf.Tensor, backend: unknown): void;
    disposeTensor(tensor: tf.Tensor): void;
  };
  const alive = new Map<number, string>();
  let kernel = 'tf.tensor';
  const { runKernel, trackTensor, disposeTensor } = engine;
  engine.runKernel = function (name, ...rest) {
    const outer = kernel;
    kernel = name;
    try {
      return runKernel.call(this, name, ...rest);
    } finally {
      kernel = outer;
    }
  };
  engine.trackTensor = function (tensor, backend) {
    if (!(tensor instanceof tf.Variable)) alive.set(tensor.id, `${runningKernel() ?? kernel} [${tensor.shape}]`); // a variable is only given new values
    trackTensor.call(this, tensor, backend);
  };
  engine.disposeTensor = function (tensor) {
    alive.delete(tensor.id);
    disposeTensor.call(this, tensor);
  };
  return {
    stop: () => Object.assign(engine, { runKernel, trackTensor, disposeTensor }),
    survivors() {
      const counts = new Map<string, number>();
      for (const made of alive.values()) counts.set(made, (counts.get(made) ?? 0) + 1);
      const rows = [...counts].sort(([, a], [, b]) => b - a).map(([made, count]) => `${count} × ${made}`);
      return rows.slice(0, 8).join(', ') + (rows.length > 8 ? ` and ${rows.length - 8} kinds more` : '');
    },
  };
}
