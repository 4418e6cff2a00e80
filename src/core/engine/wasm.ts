import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { checkAnswer, type Engine, type KernelName } from './engine.js';

const PAGE = 65536;
const MAX_PAGES = 65536; // 4 GiB, all that 32-bit addresses reach
const STACK = 4 * PAGE;

/** Best first. `simd256` works on pairs of 128-bit vectors, written so that V8 joins them to vectors of 256 bits. */
export const wasmVariants = ['simd256', 'relaxed-simd', 'simd128'] as const;
export type WasmVariant = (typeof wasmVariants)[number];

interface Exports {
  [name: string]: unknown;
  __heap_base: WebAssembly.Global;
  working_floats(threads: number): number;
  setup(threads: number, memory: number): void;
  argument_pointers(): number;
  argument_numbers(): number;
  names(): number;
  is_fused(x: number, minus: number): number;
  call(kernel: number): number;
  post(kernel: number): number;
  finish(): number;
  failure(): number;
  posted(): number;
  is_done(target: number): number;
  busy(): number;
}

/**
 * Runs in each worker, as a string so that it works from sources and from the build. What it serves, the pool of threads or the queue, never returns; the
 * thread sleeps when idle.
 */
const workerCode = `
const { workerData: { module, memory, serves, thread, stack }, parentPort } = require('node:worker_threads');
const env = { memory, now: () => performance.now(), told: () => parentPort.postMessage(0) };
const { exports } = new WebAssembly.Instance(module, { env });
exports.__stack_pointer.value = stack;
exports[serves](thread);
`;

/**
 * Loads the WebAssembly engine on shared memory. `asked` is one of its variants (default: DREAMLLM_WASM, else the fastest that works). Throws when this
 * Node cannot run it.
 */
export function loadWasm(threads: number, asked = process.env.DREAMLLM_WASM): Engine {
  const memory = new WebAssembly.Memory({ initial: 256, maximum: MAX_PAGES, shared: true });
  const waiting: (() => void)[] = [];
  const told = () => {
    for (const resolve of waiting.splice(0)) resolve();
  };
  const { module, variant, exports } = instantiate({ memory, now: () => performance.now(), told }, asked);

  let end = exports.__heap_base.value as number;
  const next = () => Math.ceil(end / 64) * 64;
  const reserve = (bytes: number): number => {
    const start = next();
    const missing = Math.ceil((start + bytes) / PAGE) - memory.buffer.byteLength / PAGE;
    if (missing > 0) {
      const room = MAX_PAGES - memory.buffer.byteLength / PAGE;
      // Growing by at least 16 MiB keeps the number of growths small.
      const pages = Math.min(room, Math.max(missing, 256));
      if (missing > room || !grow(memory, pages)) throw outOfMemory(bytes, start);
    }
    end = start + bytes;
    return start;
  };

  exports.setup(threads, reserve(exports.working_floats(threads) * 4));
  const start = (serves: 'serve' | 'serve_queue', thread: number, stack: number): Worker => {
    const worker = new Worker(workerCode, { eval: true, execArgv: [], workerData: { module, memory, serves, thread, stack: stack + STACK } });
    worker.on('message', told); // before it is let go: a listener holds on to the worker
    worker.unref();
    return worker;
  };
  for (let thread = 1; thread < threads; thread++) start('serve', thread, reserve(STACK));
  let queue: Worker | undefined;
  const queueStack = reserve(STACK);
  const startQueue = () => (queue ??= start('serve_queue', 0, queueStack));

  const pointers = new Uint32Array(memory.buffer, exports.argument_pointers(), 16);
  const numbersAt = new Float64Array(memory.buffer, exports.argument_numbers(), 64);
  const names = readNames(memory, exports.names());
  const ids = new Map(names.map((name, id) => [name as KernelName, id]));
  const check = (answer: number) => checkAnswer(names, answer);
  // With one thread, the caller's: one that ran beside it would be a second.
  const isDeferred = threads > 1;
  const through = (enter: (kernel: number) => void): Engine['call'] => (kernel, tensors, numbers) => {
    pointers.fill(0);
    for (let i = 0; i < tensors.length; i++) pointers[i] = tensors[i]?.byteOffset ?? 0;
    for (let i = 0; i < numbers.length; i++) numbersAt[i] = numbers[i];
    enter(ids.get(kernel)!);
  };
  const call = through((kernel) => check(exports.call(kernel)));
  const post = through((kernel) => {
    if (exports.post(kernel)) startQueue();
  });
  return {
    name: 'wasm',
    variant,
    threads,
    room: () => MAX_PAGES * PAGE - next(),
    allocate: (bytes) => ({ offset: reserve(bytes), buffer: memory.buffer, bytes }),
    isDeferred,
    call,
    post: isDeferred ? post : call,
    finish: () => check(exports.finish()),
    async finished() {
      const target = exports.posted();
      while (!exports.is_done(target)) {
        const worker = startQueue();
        worker.ref();
        await new Promise<void>((resolve) => waiting.push(resolve));
        if (waiting.length === 0) worker.unref();
      }
      check(exports.failure());
    },
    busy: () => exports.busy(),
  };
}

function instantiate(env: WebAssembly.ModuleImports, asked?: string): { module: WebAssembly.Module; variant: WasmVariant; exports: Exports } {
  if (asked && !wasmVariants.includes(asked as WasmVariant)) throw new Error(`Unknown WebAssembly variant "${asked}". DREAMLLM_WASM is one of ${wasmVariants.join(', ')}.`);
  setFlags();
  for (const variant of wasmVariants) {
    if (asked ? variant !== asked : variant === 'simd256' && !joinsVectors) continue;
    const bytes = readFileSync(new URL(`./wasm/${variant}.wasm`, import.meta.url));
    if (!WebAssembly.validate(bytes)) continue;
    const module = new WebAssembly.Module(bytes);
    const exports = new WebAssembly.Instance(module, { env }).exports as unknown as Exports;
    // Processors have vectors of 256 bits where they have fused multiply-add, and no other sign of them can be seen from here.
    if (asked || variant !== 'simd256' || exports.is_fused(1 + 2 ** -12, -(1 + 2 ** -11))) return { module, variant, exports };
  }
  throw new Error(`The WebAssembly engine needs ${asked ?? 'SIMD'} and threads, which Node ${process.version} on ${process.arch} does not offer. Use DREAMLLM_BACKEND=cpu.`);
}

const [node] = process.versions.node.split('.').map(Number);

/** Whether V8 can join 128-bit operations. It can where it was built with that; before Node 24 it finds too few of them. */
export const joinsVectors = node >= 24 && process.arch === 'x64' && !!(process.config.variables as Record<string, unknown>).v8_enable_wasm_simd256_revec;

/** What V8 must be told before it compiles a module. */
function setFlags(): void {
  if (node < 21) setFlagsFromString('--experimental-wasm-relaxed-simd');
  if (joinsVectors) setFlagsFromString('--experimental-wasm-revectorize');
}

function grow(memory: WebAssembly.Memory, pages: number): boolean {
  try {
    memory.grow(pages);
    return true;
  } catch {
    return false; // the caller reports it
  }
}

const outOfMemory = (bytes: number, used: number) =>
  new Error(
    `The WebAssembly engine has ${(used / 2 ** 20).toFixed(0)} of at most 4096 MiB in use and was asked for ${(bytes / 2 ** 20).toFixed(1)} more. ` +
      'Use a smaller batch or model, or the native engine (DREAMLLM_BACKEND=native), which has no such limit.',
  );

function readNames(memory: WebAssembly.Memory, at: number): string[] {
  const text = new Uint8Array(memory.buffer, at, 4096);
  return Buffer.from(text.slice(0, text.indexOf(0))).toString().trim().split(' ');
}
