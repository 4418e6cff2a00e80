import { type KernelHooks } from '../session/runtime.js';

/** The kernel this code runs in, or nothing in a script. */
export function kernelHooks(): KernelHooks | undefined {
  return (globalThis as { [key: symbol]: KernelHooks | undefined })[Symbol.for('notebook.kernel')];
}

/** The signal of the running cell, which an interrupt aborts; in a script, one that never is. */
export function interruptSignal(): AbortSignal {
  return (globalThis as { [key: symbol]: AbortSignal | undefined })[Symbol.for('notebook.signal')] ?? new AbortController().signal;
}
