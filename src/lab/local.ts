import { fork, type ChildProcess } from 'node:child_process';
import { siblingModule } from '../core/process.js';
import type { Failure } from './trial.js';
import type { WorkerOrder } from './worker.js';

/** What to do with a trial that throws: go on with the others, end the sweep, or try it again up to n times. */
export type FailurePolicy = { kind: 'continue' } | { kind: 'stop' } | { kind: 'retry'; times: number };

/** Reads `continue`, `stop` or `retry:N`. */
export function parseFailurePolicy(text: string): FailurePolicy {
  if (text === 'continue' || text === 'stop') return { kind: text };
  const times = /^retry:([1-9]\d*)$/.exec(text)?.[1];
  if (!times) throw new Error(`--on-failure: expected continue, stop or retry:N with N at least 1, found "${text}".`);
  return { kind: 'retry', times: Number(times) };
}

export interface LocalOptions {
  file: string;
  out: string;
  shared?: string;
  workers: number;
  /** Threads of each worker, unless DREAMLLM_THREADS says so already. */
  threads?: number;
  policy: FailurePolicy;
  /** Failures that trials already have; a new run gives each at least one more attempt. */
  previousFailures: number;
  ttl?: number;
  signal: AbortSignal;
  onFinished?: (trial: string) => void;
  onFailed?: (trial: string, failure: Failure) => void;
}

/** Runs a sweep in worker processes on this machine. Resolves when none is left at work; true when no trial failed. */
export async function runLocally(options: LocalOptions): Promise<boolean> {
  const { file, out, shared, policy, signal } = options;
  const attempts = options.previousFailures + (policy.kind === 'retry' ? policy.times + 1 : 1);
  const env = { ...process.env, ...(options.threads && !process.env.DREAMLLM_THREADS ? { DREAMLLM_THREADS: String(Math.min(64, options.threads)) } : {}) };
  const children = new Set<ChildProcess>();
  let failed = false;
  const stop = () => {
    for (const child of children) child.kill('SIGTERM');
  };
  signal.addEventListener('abort', stop);

  const start = (index: number) =>
    new Promise<void>((resolve) => {
      const order: WorkerOrder = { file, out, shared, from: index / options.workers, worker: `${process.pid}.${index}`, attempts, stopOnFailure: policy.kind === 'stop', ttl: options.ttl ?? 60_000 };
      const child = fork(siblingModule(import.meta.url, './worker-process'), [JSON.stringify(order)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env });
      children.add(child);
      child.on('message', (message: { finished?: string; failed?: string; failure?: Failure }) => {
        if (message.finished) options.onFinished?.(message.finished);
        if (message.failed && message.failure) {
          options.onFailed?.(message.failed, message.failure);
          if (policy.kind === 'stop') stop();
        }
      });
      child.on('exit', (status) => {
        children.delete(child);
        if (status !== 0) failed = true;
        resolve();
      });
    });

  try {
    await Promise.all(Array.from({ length: options.workers }, (_, i) => start(i)));
  } finally {
    signal.removeEventListener('abort', stop);
  }
  signal.throwIfAborted();
  return !failed;
}
