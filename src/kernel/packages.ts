import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Folder of the package this kernel belongs to. The sources and the build lie equally deep in it. */
export const packageRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Packages that cells find in any folder: where the notebook's own has none, the kernel's are taken. */
export const lentPackages: readonly string[] = ['dreamllm', '@tensorflow/tfjs', 'arquero', 'danfojs-node', 'plotly.js'];

/** The folder of the package `name` as a module in folder `from` would find it, if it does. */
export function findPackage(from: string, name: string): string | undefined {
  for (let at = resolve(from); ; at = dirname(at)) {
    const folder = join(at, 'node_modules', name);
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (at === dirname(at)) return undefined;
  }
}
