import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker, type WorkerOptions } from 'node:worker_threads';

/**
 * Path of a module beside the caller's, with the caller's own extension, so that workers and child processes start from
 * the sources under a loader and from the build otherwise. Child processes inherit the loader through `process.execArgv`.
 */
export function siblingModule(callerUrl: string, relative: string): string {
  return fileURLToPath(new URL(relative, callerUrl)) + extname(fileURLToPath(callerUrl));
}

/** Starts a worker thread from a module beside the caller's. A loader does not reach into worker threads by itself. */
export function startWorker(callerUrl: string, relative: string, options: WorkerOptions = {}): Worker {
  const path = siblingModule(callerUrl, relative);
  if (!path.endsWith('.ts')) return new Worker(path, options);
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  return new Worker(`import(${loader}).then(({ register }) => { register(); return import(${JSON.stringify(path)}); });`, { ...options, eval: true });
}
