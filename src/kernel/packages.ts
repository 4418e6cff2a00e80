import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Folder of the package this kernel belongs to. The sources and the build lie equally deep in it. */
export const packageRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Whether a module in folder `from` would find the package `name` installed. */
export function hasPackage(from: string, name: string): boolean {
  for (let at = resolve(from); ; at = dirname(at)) {
    if (existsSync(join(at, 'node_modules', name, 'package.json'))) return true;
    if (at === dirname(at)) return false;
  }
}
