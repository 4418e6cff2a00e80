import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Sweep } from './sweep.js';

/** Imports the sweep that a file default-exports. TypeScript is compiled on the way. */
export async function loadSweep(file: string): Promise<Sweep> {
  const path = resolve(file);
  if (!existsSync(path)) throw new Error(`No sweep at ${file}. Give the path of a file that default-exports a Sweep, such as experiments/dream-queries/sweep.ts.`);
  if (path.endsWith('.ts') && !process.execArgv.some((argument) => argument.includes('tsx'))) {
    const { register } = await import('tsx/esm/api');
    register();
  }
  const { default: sweep } = (await import(pathToFileURL(path).href)) as { default?: Sweep };
  if (!sweep?.question || !sweep.base || !sweep.measurements || !Array.isArray(sweep.seeds)) {
    throw new Error(`${file} does not default-export a Sweep: it needs name, question, base, seeds, train and measurements.`);
  }
  return sweep;
}
