import { existsSync } from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker, type WorkerOptions } from 'node:worker_threads';

/**
 * Path of a module beside the caller's, with the caller's own extension, so that child processes and workers start
 * from the sources under a loader and from the build otherwise: `fork(siblingModule(import.meta.url, './worker'))`.
 * Child processes inherit the loader through `process.execArgv`; threads do not: see `startWorker`.
 */
export function siblingModule(callerUrl: string, relative: string): string {
  const path = fileURLToPath(new URL(relative, callerUrl));
  return path + extname(fileURLToPath(callerUrl));
}

/** A worker thread on a module beside the caller's. Sources need their loader registered again, for a thread starts without it. */
export function startWorker(callerUrl: string, relative: string, options: WorkerOptions = {}): Worker {
  const path = siblingModule(callerUrl, relative);
  if (!path.endsWith('.ts')) return new Worker(path, options);
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  return new Worker(`import(${loader}).then(({ register }) => { register(); return import(${JSON.stringify(path)}); });`, { ...options, eval: true });
}

/** The folder that holds the package's package.json, from the sources and from the build alike. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
}
