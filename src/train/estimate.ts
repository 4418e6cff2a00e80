import * as tf from '@tensorflow/tfjs';
import { valueAndGrads } from '../core/ops/index.js';
import { covers, specEntries } from '../core/params.js';
import type { DreamConfig } from '../dreamllm/config.js';
import { dreamSpec } from '../dreamllm/model.js';
import type { LoopSettings, Task } from './loop.js';
import { Optimizer } from './optimizer.js';
import type { StageSettings } from './overrides.js';
import { duration } from './progress.js';
import { batchSize, stepsOf } from './stages.js';
import { zerosLike } from './tensors.js';

/** What follows from the settings alone, so that it is known also of a model that fits no memory here. Bytes are those of float32. */
export interface StageSizes {
  parameters: number;
  trainable: number;
  /** All parameters in memory. */
  parameterBytes: number;
  /** What the optimizer keeps beside what trains: two moments, and the moving average if there is one. */
  stateBytes: number;
  /** On disk at the most: the checkpoints that are kept, the one being written, and the result. */
  diskBytes: number;
}

/** What a step holds at the least: parameters, optimizer state and gradients. */
export const heldBytes = ({ parameterBytes, stateBytes, trainable }: StageSizes): number => parameterBytes + stateBytes + 4 * trainable;

/** What the first step took when it was tried. */
export interface Probe {
  /** Of one optimizer step with all its micro-batches. */
  secondsPerStep: number;
  /** Tensors at the worst moment of a step beside parameters and state: inputs, activations, gradients. */
  stepBytes: number;
  /** Largest memory of the process up to the end of the probe, when it had held all that a step needs. */
  residentBytes: number;
}

/** Measured time and memory lie within these factors of the estimate where the machine's load stays the same (tested on micro). */
export const estimateFactors = { seconds: 2, memory: 1.5 };

export function stageSizes(config: DreamConfig, settings: StageSettings): StageSizes {
  let [parameters, trainable] = [0, 0];
  for (const [key, { shape }] of specEntries(dreamSpec(config))) {
    const size = tf.util.sizeFromShape([...shape]);
    parameters += size;
    if (settings.trainable.some((prefix) => covers(prefix, key))) trainable += size;
  }
  const kept = settings.emaDecay === undefined ? 2 : 3;
  return {
    parameters,
    trainable,
    parameterBytes: 4 * parameters,
    stateBytes: 4 * kept * trainable,
    diskBytes: 4 * (1 + kept) * trainable * (settings.keepLast + 2) + 4 * parameters, // the last, the best, the one being written
  };
}

/** Takes the first step twice and changes nothing. The second time counts, when everything is compiled and cached. `now` gives milliseconds. */
export async function probe(task: Task, settings: LoopSettings, now: () => number = () => performance.now()): Promise<Probe> {
  let [secondsPerStep, stepBytes] = [0, 0];
  const optimizer = new Optimizer(task.trainable, settings.optimizer);
  try {
    const before = tf.memory().numBytes;
    for (let round = 0; round < 2; round++) {
      const start = now();
      const { inputs } = await task.batch(0, 0);
      const { result, peakBytes } = withPeak(() => valueAndGrads(() => task.loss(inputs).loss, task.trainable, { allowUnused: task.allowUnused }));
      await result.value.data(); // some backends compute when they are asked
      const micro = now() - start;
      tf.dispose([result.value, ...result.grads.values(), inputs]);
      const zeros = new Map([...task.trainable].map(([key, variable]) => [key, zerosLike(variable)]));
      const update = now();
      optimizer.update(zeros, 0); // adds nothing times nothing, so every bit of the parameters stays
      secondsPerStep = (settings.accumulation * micro + (now() - update)) / 1000;
      stepBytes = Math.max(stepBytes, peakBytes - before);
      tf.dispose([...zeros.values()]);
    }
  } finally {
    optimizer.dispose();
  }
  return { secondsPerStep, stepBytes, residentBytes: process.resourceUsage().maxRSS * 1024 };
}

/** Largest memory of the process to be expected: that of the probe, the moving average, and the largest file, which is read back to be hashed. */
export const peakMemory = (sizes: StageSizes, { residentBytes }: Probe): number => residentBytes + Math.max(0, sizes.stateBytes - 8 * sizes.trainable) + Math.max(sizes.parameterBytes, 8 * sizes.trainable);

/** The estimate in three lines. Without a probe it says nothing of time. `done` steps are behind. */
export function describeEstimate(settings: StageSettings, sizes: StageSizes, probed?: Probe, done = 0): string {
  const steps = stepsOf(settings);
  const lines = [
    `${settings.name}: ${steps.toLocaleString('en')} steps of ${batchSize(settings).toLocaleString('en')} samples, ` +
      `${sizes.trainable.toLocaleString('en')} of ${sizes.parameters.toLocaleString('en')} parameters train.`,
    `Memory: ${bytes(sizes.parameterBytes)} parameters, ${bytes(sizes.stateBytes)} optimizer state, ` +
      (probed
        ? `${bytes(probed.stepBytes)} for a step; the process up to about ${bytes(peakMemory(sizes, probed))} (within a factor of ${estimateFactors.memory}).`
        : `${bytes(4 * sizes.trainable)} gradients; activations come on top.`) +
      ` Disk: up to ${bytes(sizes.diskBytes)}.`,
  ];
  if (probed) {
    lines.push(
      `Time: ${probed.secondsPerStep.toPrecision(2)} s a step, about ${duration(probed.secondsPerStep * (steps - done))} for ${done ? `the ${steps - done} steps left` : 'all of them'} ` +
        `(within a factor of ${estimateFactors.seconds}); evaluations and checkpoints come on top.`,
    );
  }
  return lines.join('\n');
}

/** `run`'s result, and the largest number of bytes in tensors after any of its kernels. tfjs counts a buffer that two tensors share twice. */
function withPeak<T>(run: () => T): { result: T; peakBytes: number } {
  const engine = tf.engine() as unknown as { runKernel(name: string, ...rest: unknown[]): unknown; state: { numBytes: number } };
  const { runKernel } = engine;
  let peakBytes = engine.state.numBytes;
  engine.runKernel = function (name, ...rest) {
    const output = runKernel.call(this, name, ...rest);
    peakBytes = Math.max(peakBytes, engine.state.numBytes);
    return output;
  };
  try {
    return { result: run(), peakBytes };
  } finally {
    engine.runKernel = runKernel;
  }
}

function bytes(count: number): string {
  const unit = count >= 2 ** 30 ? 'GiB' : 'MiB';
  const value = count / (unit === 'GiB' ? 2 ** 30 : 2 ** 20);
  return `${value >= 10 ? Math.round(value) : value.toPrecision(2)} ${unit}`;
}
