import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-cpu';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { addonFolder, loadNative } from './addon.js';
import type { Engine } from './engine.js';
import { DreamBackend } from './dream-backend.js';
import { registerBackend, registerDreamBackend } from './register.js';
import { loadWasm } from './wasm.js';

/** Every engine that runs here with one and two threads, each under a backend name of its own. For tests. */
export function testEngines(): { name: string; load: () => Engine }[] {
  const wasm = [1, 2].map((threads) => ({ name: `wasm-${threads}`, load: () => loadWasm(threads) }));
  const variants = (['simd256', 'simd128'] as const).map((variant) => ({ name: `wasm-${variant}`, load: () => loadWasm(1, variant) }));
  const native = existsSync(join(addonFolder, 'engine.node')) ? [1, 2].map((threads) => ({ name: `native-${threads}`, load: () => loadNative(threads) })) : [];
  // What products are on processors without a matrix unit; where there is none, the same again would show nothing.
  const vectors = native.length && native[0].load().variant.endsWith('AMX') ? [{ name: 'native-vectors', load: () => loadNative(2, false) }] : [];
  return [...native, ...vectors, ...wasm, ...variants];
}

/** Registers an engine as a backend and makes it current. The native engine's threads are the process's: load it anew before each use. */
export async function useTestEngine({ name, load }: { name: string; load: () => Engine }): Promise<void> {
  registerDreamBackend(load(), name);
  await tf.setBackend(name);
}

/** A backend that hands computed values over only to those who wait, as a GPU in WebGPU does, and goes by its name. */
class LaterBackend extends DreamBackend {
  readonly #readable = new WeakSet<object>();

  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): object {
    const id = super.write(values, shape, dtype);
    this.#readable.add(id);
    return id;
  }

  override async read(id: object): Promise<tf.BackendValues> {
    this.#readable.add(id);
    return this.readSync(id);
  }

  override readSync(id: object): tf.BackendValues {
    if (!this.#readable.has(id)) throw new Error('Computed values were asked for at once. Wait for them (`data`, `fetchValues`): WebGPU gives them no other way.');
    return super.readSync(id);
  }
}

/** Makes an engine that can be waited for alone the current backend. What runs on it runs on WebGPU, as far as reading goes. */
export async function useLaterBackend(): Promise<void> {
  registerBackend(new LaterBackend(loadWasm(1)), 'webgpu');
  await tf.setBackend('webgpu');
}

/** What tests of models run on: the plain backend and one of each engine. `use` before the first tensor of a suite. */
export function modelBackends(): { name: string; use(): Promise<void> }[] {
  const engines = testEngines().filter(({ name }) => name === 'native-2' || name === 'wasm-1');
  return [
    { name: 'cpu', use: async () => void (await tf.setBackend('cpu')) },
    ...engines.map((engine) => ({ name: engine.name, use: () => useTestEngine(engine) })),
  ];
}
