import * as tf from '@tensorflow/tfjs';
import { availableParallelism, cpus } from 'node:os';
import { loadNative } from './engine/addon.js';
import type { Engine } from './engine/engine.js';
import { registerDreamBackend } from './engine/register.js';
import { loadWasm } from './engine/wasm.js';

/** In the order of preference. `native` and `wasm` are the two engines of this package's own tfjs backend, `dream`. */
export const backendNames = ['tfjs-node-gpu', 'webgpu', 'native', 'wasm', 'cpu'] as const;
export type BackendName = (typeof backendNames)[number];

export interface BackendChoice {
  name: BackendName;
  /** The name tfjs knows it by. */
  tfjsName: string;
  /** What runs the kernels, for records: `native (AMD EPYC)`, `wasm (relaxed-simd)`. */
  engine: string;
  threads: number;
  /** Why it is this one: a line for each that would have been preferred, and one for itself. */
  reasons: string[];
}

interface Loaded {
  tfjsName: string;
  engine: string;
  threads: number;
}

let current: BackendChoice | undefined;

/**
 * Chooses where tensors live and makes it tfjs' backend: `name`, else DREAMLLM_BACKEND, else the first that works. One asked for by name
 * that is not available is an error with the remedy. DREAMLLM_THREADS sets the number of threads (default: what the process may use).
 * A process has one engine; later calls return the first choice, or fail when they ask for another.
 */
export async function useBackend(name: string = process.env.DREAMLLM_BACKEND || 'auto'): Promise<BackendChoice> {
  if (name !== 'auto' && !backendNames.includes(name as BackendName)) {
    throw new Error(`Unknown backend "${name}". DREAMLLM_BACKEND is auto or one of ${backendNames.join(', ')}.`);
  }
  if (current) {
    if (name !== 'auto' && name !== current.name) {
      throw new Error(`This process already computes on ${current.name}, so it cannot change to ${name}. Start another, or ask for it first.`);
    }
    return current;
  }
  const threads = threadCount();
  const reasons: string[] = [];
  for (const candidate of name === 'auto' ? backendNames : [name as BackendName]) {
    try {
      const loaded = await loaders[candidate](threads, name === 'auto');
      await tf.setBackend(loaded.tfjsName);
      await tf.ready();
      reasons.push(name === 'auto' ? `${candidate}: the first that works here` : `${candidate}: asked for by name`);
      current = { name: candidate, ...loaded, reasons };
      return current;
    } catch (error) {
      if (name !== 'auto') throw new Error(`The backend ${candidate} is not available: ${(error as Error).message}`);
      reasons.push(`${candidate}: ${firstLine(error)}`);
    }
  }
  throw new Error(`No backend works here.\n${reasons.join('\n')}`);
}

/** What records say about where they were computed. Call `useBackend` first. */
export function describeBackend(): Record<string, string | number> {
  if (!current) throw new Error('No backend is chosen yet: await useBackend() first.');
  const { name, engine, threads } = current;
  return { backend: name, engine, threads, tfjs: tf.version_core, node: process.version, platform: `${process.platform}-${process.arch}`, processor: cpus()[0].model };
}

/** DREAMLLM_THREADS, or as many as the process may use, at most 32. */
export function threadCount(): number {
  const asked = process.env.DREAMLLM_THREADS;
  if (!asked) return Math.min(32, availableParallelism());
  const count = Number(asked);
  if (!Number.isInteger(count) || count < 1 || count > 64) throw new Error(`DREAMLLM_THREADS: expected a whole number from 1 to 64, found "${asked}".`);
  return count;
}

const loaders: Record<BackendName, (threads: number, auto: boolean) => Promise<Loaded>> = {
  'tfjs-node-gpu': async () => {
    const { backend } = await optionalImport('@tensorflow/tfjs-node-gpu', 'needs an NVIDIA GPU with CUDA 11 and cuDNN 8');
    const node = backend() as { isUsingGpuDevice?: boolean } | undefined;
    if (!node?.isUsingGpuDevice) throw new Error('it loads but lists no GPU. It needs CUDA 11 and cuDNN 8; newer GPUs are reached by webgpu.');
    return { tfjsName: 'tensorflow', engine: 'tfjs-node-gpu', threads: 1 };
  },
  webgpu: loadWebGpu,
  native: async (threads) => dream(loadNative(threads)),
  wasm: async (threads) => dream(loadWasm(threads)),
  cpu: async () => ({ tfjsName: 'cpu', engine: 'tfjs-backend-cpu', threads: 1 }),
};

function dream(engine: Engine): Loaded {
  registerDreamBackend(engine);
  return { tfjsName: 'dream', engine: `${engine.name} (${engine.variant})`, threads: engine.threads };
}

/** Dawn, from the npm package `webgpu`. Chosen by itself only with a GPU behind it; by name also on a software Vulkan. */
async function loadWebGpu(_threads: number, auto: boolean): Promise<Loaded> {
  const { create, globals } = await optionalImport('webgpu', 'is WebGPU for Node');
  Object.assign(globalThis, globals);
  const gpu = create([]);
  const navigator = (globalThis as { navigator?: object }).navigator ?? {};
  Object.defineProperty(navigator, 'gpu', { value: gpu, configurable: true });
  Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new Error('no adapter was found. Install the GPU driver and its Vulkan loader (Debian: libvulkan1).');
  const info = adapter.info ?? {};
  const device = [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(' ') || 'unnamed adapter';
  if (auto && (info.isFallbackAdapter || adapter.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|software|cpu/i.test(device))) {
    throw new Error(`only a software adapter was found (${device}). It can be asked for by name, for tests.`);
  }
  // Registers itself, and only when navigator.gpu is there.
  await optionalImport('@tensorflow/tfjs-backend-webgpu', 'is the tfjs backend for WebGPU');
  await mendWebGpu();
  return { tfjsName: 'webgpu', engine: `webgpu (${device})`, threads: 1 };
}

/**
 * A shader that the device refuses would leave its result as it was, with a line on the console; here it ends the process. One is known: tfjs 4.22 adds
 * any number of tensors in one shader, and devices take as few as eight.
 */
async function mendWebGpu(): Promise<void> {
  await tf.setBackend('webgpu');
  await tf.ready();
  const { device } = tf.backend() as unknown as { device: { onuncapturederror: (event: { error: { message: string } }) => void } };
  device.onuncapturederror = ({ error }) => {
    throw new Error(`WebGPU refused an operation, so its result is wrong: ${error.message}`);
  };
  tf.unregisterKernel('AddN', 'webgpu');
  tf.registerKernel({
    kernelName: 'AddN',
    backendName: 'webgpu',
    kernelFunc: ({ inputs }) => tf.tidy(() => (Object.values(inputs) as tf.Tensor[]).reduce((sum, term) => tf.add(sum, term), tf.scalar(0))),
  });
}

/** Imports a package that need not be installed. */
async function optionalImport(name: string, purpose: string): Promise<any> {
  try {
    return await import(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND') throw new Error(`not installed. ${name} ${purpose}: npm install ${name}.`);
    throw new Error(`it does not load: ${firstLine(error).replace(/\.$/, '')}. ${name} ${purpose}; DREAMLLM_BACKEND=auto takes the next that works.`);
  }
}

const firstLine = (error: unknown): string => (error as Error).message.split('\n')[0];
