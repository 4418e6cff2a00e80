import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Path of a module beside the caller's, with the caller's own extension, so that child processes and workers start
 * from the sources under a loader and from the build otherwise: `fork(siblingModule(import.meta.url, './worker'))`.
 * Children inherit the loader through `process.execArgv`.
 */
export function siblingModule(callerUrl: string, relative: string): string {
  const path = fileURLToPath(new URL(relative, callerUrl));
  return path + extname(fileURLToPath(callerUrl));
}
