import * as tf from '@tensorflow/tfjs';
import type { DreamBackend } from '../../core/engine/dream-backend.js';
import type { Workload } from './transformer.js';

export interface Measurement {
  name: string;
  /** Median and least time of one unit (a step, a token), in milliseconds. */
  median: number;
  best: number;
  repetitions: number;
  /** Of the median. */
  gflops: number;
  /** Share of the time outside of kernels, where the backend is this package's own. */
  outside?: number;
}

/** Times `repetitions` steps after one that warms up. A step holds `units` units. The workload is disposed. */
export function measure(name: string, make: () => Workload, repetitions: number, units = 1): Measurement {
  const workload = make();
  workload.step();
  const kernels = countKernelTime();
  const times = Array.from({ length: repetitions }, () => {
    const start = performance.now();
    workload.step();
    return performance.now() - start;
  });
  const inKernels = kernels?.stop();
  const total = times.reduce((a, b) => a + b, 0);
  const sorted = times.map((time) => time / units).sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  workload.dispose();
  return {
    name, median, best: sorted[0], repetitions, gflops: workload.flops / units / median / 1e6,
    ...(inKernels === undefined ? {} : { outside: 1 - inKernels / total }),
  };
}

/** Sums the time spent in the engine's kernels until stopped. */
function countKernelTime(): { stop(): number } | undefined {
  if (tf.getBackend() !== 'dream') return undefined;
  const backend = tf.backend() as DreamBackend;
  const run = backend.run;
  let total = 0;
  backend.run = (...call) => {
    const start = performance.now();
    run.apply(backend, call);
    total += performance.now() - start;
  };
  return {
    stop() {
      backend.run = run;
      return total;
    },
  };
}

/** GFLOP/s of a square matrix product, the best of several. */
export function matmulSpeed(size: number, repetitions = 10): number {
  const [a, b] = [tf.randomNormal([size, size], 0, 1, 'float32', 1), tf.randomNormal([size, size], 0, 1, 'float32', 2)];
  let best = Infinity;
  for (let i = 0; i <= repetitions; i++) {
    const start = performance.now();
    const c = tf.matMul(a, b, false, true);
    c.dataSync().at(0);
    if (i > 0) best = Math.min(best, performance.now() - start);
    c.dispose();
  }
  tf.dispose([a, b]);
  return (2 * size ** 3) / best / 1e6;
}

/** GFLOP/s of multiply-adds on registers, all threads: what no kernel can exceed. Undefined on backends of others. */
export function peakSpeed(): number | undefined {
  if (tf.getBackend() !== 'dream') return undefined;
  const backend = tf.backend() as DreamBackend;
  const chunks = 4 * backend.engine.threads;
  const numbers = tf.tensor1d([0.999, 1e-3, 0]);
  const sums = tf.zeros([chunks]);
  const repetitions = 1e6;
  let best = Infinity;
  for (let i = 0; i < 8; i++) {
    const start = performance.now();
    backend.run('peak', [backend.values(numbers), backend.values(sums)], [repetitions, chunks]);
    best = Math.min(best, performance.now() - start);
  }
  const lanes = backend.values(numbers)[2];
  tf.dispose([numbers, sums]);
  return (2 * repetitions * chunks * lanes) / best / 1e6;
}
