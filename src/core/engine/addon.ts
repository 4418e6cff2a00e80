import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkAnswer, type Engine, type KernelName } from './engine.js';

interface Addon {
  version?: number;
  names: string;
  setThreads(count: number): boolean;
  useMatrixUnit(wanted: boolean): boolean;
  mapFile(file: string): ArrayBuffer | undefined;
  reserve(bytes: number): ArrayBuffer | undefined;
  call(kernel: number, count: number, numbers: Float64Array, ...tensors: unknown[]): number;
  post(kernel: number, count: number, numbers: Float64Array, ...tensors: unknown[]): number;
  finish(): number;
  idle(): Promise<void> | undefined;
  failure(): number;
  busy(): number;
}

/** Where `build-native.mjs` puts the addon: build/ at the package's root, the same distance from src and dist. */
export const addonFolder = fileURLToPath(new URL('../../../build/engine', import.meta.url));

export const buildCommand = 'npm run build:native';

/** What this side expects of the addon; stands in addon.c too. */
const addonVersion = 7;

/**
 * Loads the addon. `matrixUnit`: whether products may go to the processor's (Intel AMX), where there is one; threads and unit are the process's, so the
 * last call decides for all. Throws, saying how to get an addon, when it is absent, old or was built for another processor.
 */
export function loadNative(threads: number, matrixUnit = process.env.DREAMLLM_AMX !== '0'): Engine {
  const file = join(addonFolder, 'engine.node');
  if (!existsSync(file)) throw new Error(`No native engine at ${file}. Run \`${buildCommand}\`; it needs a C compiler and Node's headers.`);
  const { processor } = JSON.parse(readFileSync(join(addonFolder, 'engine.json'), 'utf8')) as { processor: string };
  // Built with -march=native: on another processor its instructions may not exist.
  if (processor !== cpus()[0].model) throw new Error(`The native engine was built for "${processor}", this is "${cpus()[0].model}". Run \`${buildCommand}\`.`);
  const addon = createRequire(import.meta.url)(file) as Addon;
  if (addon.version !== addonVersion) throw new Error(`The native engine at ${file} was built from other sources than this package's. Run \`${buildCommand}\`.`);
  const names = addon.names.trim().split(' ') as KernelName[];
  const ids = new Map(names.map((name, id) => [name, id]));
  if (!addon.setThreads(threads)) throw new Error(`The native engine could not start ${threads} threads. Set DREAMLLM_THREADS to a number from 1 to 64.`);
  const isUnitUsed = addon.useMatrixUnit(matrixUnit);
  const arguments64 = new Float64Array(64);
  // With one thread, the caller's: one that ran beside it would be a second.
  const isDeferred = threads > 1;
  const check = (answer: number) => checkAnswer(names, answer);
  const through = (enter: Addon['call']): Engine['call'] => (kernel, tensors, numbers) => {
    for (let i = 0; i < numbers.length; i++) arguments64[i] = numbers[i];
    check(enter(ids.get(kernel)!, numbers.length, arguments64, ...tensors));
  };
  return {
    name: 'native',
    variant: isUnitUsed ? `${processor}, AMX` : processor,
    threads,
    mapFile(file) {
      const memory = addon.mapFile(file);
      if (!memory) throw new Error(`${file} could not be mapped into memory. It must be a regular file that is not empty.`);
      return memory;
    },
    allocate(bytes) {
      const buffer = addon.reserve(bytes);
      if (!buffer) throw new Error(`The system has no ${(bytes / 2 ** 20).toFixed(1)} MiB left for the native engine. Use a smaller batch or model, or end other programs.`);
      return { buffer, offset: 0, bytes };
    },
    isDeferred,
    call: through(addon.call),
    post: through(isDeferred ? addon.post : addon.call),
    finish: () => check(addon.finish()),
    async finished() {
      await addon.idle();
      check(addon.failure());
    },
    busy: () => 1000 * addon.busy(),
  };
}
