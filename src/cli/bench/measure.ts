import * as tf from '@tensorflow/tfjs';
import type { DreamBackend } from '../../core/engine/dream-backend.js';
import type { KernelName, Memory } from '../../core/engine/engine.js';
import type { Workload } from './transformer.js';

export interface Measurement {
  name: string;
  /** Median and least time of one unit (a step, a token), in milliseconds. */
  ms: number;
  best: number;
  repetitions: number;
  /** Of the median. */
  gflops: number;
  /** Of the peak that was measured in the same run. */
  share?: number;
  /** Share of the time outside of kernels, where the backend is this package's own. */
  outside?: number;
}

/** Times `repetitions` steps after `warmup` others. A step holds `units` units. The workload is disposed. */
export async function measure(name: string, make: () => Workload | Promise<Workload>, { repetitions, units = 1, warmup = 1, peak }: MeasureOptions): Promise<Measurement> {
  const workload = await make();
  try {
    for (let i = 0; i < warmup; i++) await workload.step();
    const kernels = watchKernels();
    const times: number[] = [];
    for (let i = 0; i < repetitions; i++) {
      const start = performance.now();
      await workload.step();
      times.push(performance.now() - start);
    }
    const seen = kernels?.stop();
    const total = times.reduce((a, b) => a + b, 0);
    const sorted = times.map((time) => time / units).sort((a, b) => a - b);
    const ms = sorted[Math.floor(sorted.length / 2)];
    const flops = workload.flops ?? (seen ? seen.flops / repetitions : 0);
    const gflops = flops / units / ms / 1e6;
    return { name, ms, best: sorted[0], repetitions, gflops, ...(peak ? { share: gflops / peak } : {}), ...(seen ? { outside: 1 - seen.ms / total } : {}) };
  } finally {
    workload.dispose();
  }
}

export interface MeasureOptions {
  repetitions: number;
  /** What one step holds of the unit that is reported. */
  units?: number;
  /** Steps before the first that counts. More than one where sizes change from step to step, so that memory is in use already. */
  warmup?: number;
  /** GFLOP/s. */
  peak?: number;
}

/** Adds up the time spent in the engine's kernels and the arithmetic of products, convolutions and attention until stopped. */
function watchKernels(): { stop(): { ms: number; flops: number } } | undefined {
  if (tf.getBackend() !== 'dream') return undefined;
  const backend = tf.backend() as DreamBackend;
  const run = backend.run;
  let flops = 0;
  backend.finish();
  const before = backend.engine.busy();
  backend.run = (...call) => {
    run.apply(backend, call);
    flops += flopsOf(...call);
  };
  return {
    stop() {
      backend.run = run;
      backend.finish();
      return { ms: backend.engine.busy() - before, flops };
    },
  };
}

/** Multiplications and additions of a kernel call, from what native/*.h lists; 0 for kernels that mostly move memory. */
export function flopsOf(kernel: KernelName, tensors: readonly (Memory | null)[], numbers: readonly number[]): number {
  if (kernel === 'gemm') return 2 * numbers[0] * numbers[4] * numbers[5] * numbers[6];
  if (kernel === 'packed_product') return 2 * numbers[0] * numbers[1] * numbers[2];
  if (kernel === 'conv' || kernel === 'conv_grad_filter' || kernel === 'conv_grad_input') {
    const [images, , , channels, outHeight, outWidth, out, kh, kw] = numbers;
    return 2 * images * outHeight * outWidth * out * kh * kw * channels;
  }
  if (kernel === 'attention' || kernel === 'attention_grad') {
    const [batch, tokens, keys, heads, , headDim, causal] = numbers;
    const pairs = (rows: number, columns: number) => (causal ? rows * (columns - (rows - 1) / 2) : rows * columns); // of a query and a key it sees
    const starts = tensors.find((tensor) => tensor instanceof Int32Array); // of sequences of unequal length
    const seen = starts ? Array.from(starts.subarray(1), (end, i) => pairs(end - starts[i], end - starts[i])).reduce((a, b) => a + b) : batch * pairs(tokens, keys);
    return (kernel === 'attention' ? 4 : 10) * heads * seen * headDim;
  }
  return 0;
}

/** GFLOP/s of a square matrix product, the best of several. Only backends of others that compute later are asked for the values, which are then copied. */
export function matmulSpeed(size: number, repetitions = 10): number {
  const own = tf.getBackend() === 'dream' ? (tf.backend() as DreamBackend) : undefined;
  const isLater = !own && tf.getBackend() !== 'cpu';
  const [a, b] = [tf.randomNormal([size, size], 0, 1, 'float32', 1), tf.randomNormal([size, size], 0, 1, 'float32', 2)];
  let best = Infinity;
  for (let i = 0; i <= repetitions; i++) {
    const start = performance.now();
    const c = tf.matMul(a, b, false, true);
    if (isLater) c.dataSync();
    own?.finish();
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
    backend.run('peak', [backend.memoryOf(numbers), backend.memoryOf(sums)], [repetitions, chunks]);
    backend.finish();
    best = Math.min(best, performance.now() - start);
  }
  const lanes = backend.open(numbers)[2];
  tf.dispose([numbers, sums]);
  return (2 * repetitions * chunks * lanes) / best / 1e6;
}
