import { bundleOf } from '../display/bundle.js';
import { interruptName, runtimeName } from '../language/names.js';
import { shared } from '../wire/messages.js';
import { type CellImports } from './imports.js';
import { type CellRun } from './interrupt.js';
import { type Output } from './output.js';

export interface RuntimeParts {
  imports: CellImports;
  flags: Int32Array;
  output: Output;
  currentRun(): CellRun | undefined;
  stop(): never;
  ask(prompt: string, password: boolean): Promise<string>;
}

/** What a library may find in a notebook, under `Symbol.for('notebook.kernel')`. `dreamllm/notebook` is built on it. */
export interface KernelHooks {
  /** Sends a message to whoever watches the running cell, such as `display_data`. */
  publish(type: string, content: object): void;
  /** The representations of a value, by media type. */
  bundle(value: unknown): Promise<Record<string, unknown> | undefined>;
  ask(prompt: string, password: boolean): Promise<string>;
}

/**
 * Defines what emitted cells call, and the hooks for libraries:
 * `Symbol.for('notebook.signal')`, the AbortSignal of the running cell, and `Symbol.for('notebook.kernel')`.
 */
export function installRuntime({ imports, flags, output, currentRun, stop, ask }: RuntimeParts): void {
  const idle = new AbortController().signal;
  const runtime = Object.freeze({
    import: (specifier: string, names?: string[]) => imports.import(specifier, names),
    meta: imports.meta,
    result(value: unknown): void {
      const run = currentRun();
      if (run && value !== undefined) run.result = { value };
    },
    /** Wraps each awaited value, and begins each turn of an asynchronous loop. */
    resume<T>(value: T): T {
      currentRun()?.throwIfInterrupted();
      return value;
    },
    stop,
  });
  const hooks: KernelHooks = { publish: (type, content) => output.publish(type, content), bundle: bundleOf, ask };

  const constant = (value: unknown): PropertyDescriptor => ({ value, writable: false, configurable: false, enumerable: false });
  Object.defineProperties(globalThis, {
    [runtimeName]: constant(runtime),
    [interruptName]: constant(flags.subarray(shared.interrupt, shared.interrupt + 1)),
    require: { value: imports.require, writable: true, configurable: true },
    [Symbol.for('notebook.signal')]: { get: () => currentRun()?.signal ?? idle, configurable: false },
    [Symbol.for('notebook.kernel')]: constant(hooks),
  });
}
