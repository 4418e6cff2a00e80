import * as tf from '@tensorflow/tfjs';
import { runningKernel } from '../core/ops/index.js';

/**
 * Watches that no tensor outlives what made it: a step, say, that is taken again and again. The first time is let through, because caches fill. From then on the count
 * of live tensors must stay where it was: when it has been above that for `patience` times in a row, the run fails and names the first step that left something
 * behind, and the operations that made it. Every tensor made between `begin` and `end` is noted until it is disposed, so that the first leak has its name already.
 */
export class LeakLedger {
  private recording: Recording | undefined;
  private before = 0;
  /** Live tensors beyond those after the first time; undefined before it. */
  private level: number | undefined;
  private grown = 0;
  private suspect: { step: number; count: number; made: string } | undefined;

  /** `what` begins the message, in front of the number of the step. */
  constructor(private readonly what = 'Step', private readonly patience = 3) {}

  /** `kept` are tensors that belong to somebody at this time and do not count. */
  begin(kept: readonly tf.Tensor[] = []): void {
    this.before = tf.memory().numTensors - kept.length;
    this.recording = record();
  }

  /** Called when everything made since `begin` should be gone, but for `kept`. */
  end(step: number, kept: readonly tf.Tensor[] = []): void {
    const made = this.recording!;
    this.stop();
    if (this.level === undefined) {
      this.level = 0;
      return;
    }
    this.level += tf.memory().numTensors - kept.length - this.before;
    if (this.level <= 0) {
      [this.level, this.grown, this.suspect] = [0, 0, undefined];
      return;
    }
    this.suspect ??= { step, count: this.level, made: made.survivors(kept) };
    if (++this.grown < this.patience) return;
    const { step: first, count, made: by } = this.suspect;
    throw new Error(
      `${this.what} ${first} left ${count} ${count === 1 ? 'tensor' : 'tensors'} behind: ${by}. ` +
        (step === first ? '' : `After ${this.what.toLowerCase()} ${step} there are ${this.level} too many. `) +
        'Every tensor has one owner: dispose these or wrap their maker in tf.tidy.',
    );
  }

  /** Stops noting, also when what was begun failed. */
  stop(): void {
    this.recording?.stop();
    this.recording = undefined;
  }
}

interface Recording {
  stop(): void;
  /** Operations and shapes of the tensors that were made while recording and are still there, most frequent first, without `kept`. */
  survivors(kept: readonly tf.Tensor[]): string;
}

/** Notes which operation makes each tensor, by wrapping three methods of the tfjs engine for the time being. */
function record(): Recording {
  const engine = tf.engine() as unknown as {
    runKernel(name: string, ...rest: unknown[]): unknown;
    trackTensor(tensor: tf.Tensor, backend: unknown): void;
    disposeTensor(tensor: tf.Tensor): void;
  };
  const alive = new Map<number, { kernel: string; shape: readonly number[] }>();
  const older = new Set<number>(); // variables that were there before: one that is given new values is disposed and tracked again
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
    if (!older.delete(tensor.id)) alive.set(tensor.id, { kernel: runningKernel() ?? kernel, shape: tensor.shape });
    trackTensor.call(this, tensor, backend);
  };
  engine.disposeTensor = function (tensor) {
    if (!alive.delete(tensor.id) && tensor instanceof tf.Variable) older.add(tensor.id);
    disposeTensor.call(this, tensor);
  };
  return {
    stop: () => Object.assign(engine, { runKernel, trackTensor, disposeTensor }),
    survivors(kept) {
      const counts = new Map<string, number>();
      const owned = new Set(kept.map(({ id }) => id));
      for (const [id, { kernel: name, shape }] of alive) {
        if (owned.has(id)) continue;
        const made = `${name} [${shape}]`;
        counts.set(made, (counts.get(made) ?? 0) + 1);
      }
      const rows = [...counts].sort(([, a], [, b]) => b - a).map(([made, count]) => `${count} × ${made}`);
      return rows.slice(0, 8).join(', ') + (rows.length > 8 ? ` and ${rows.length - 8} kinds more` : '');
    },
  };
}
