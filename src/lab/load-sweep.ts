import { existsSync } from 'node:fs';
import { register } from 'node:module';
import { extname, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Sweep } from './sweep.js';

/** Imports the sweep that a file default-exports. TypeScript is compiled on the way, and `dreamllm` in it is the library that runs it. */
export async function loadSweep(file: string): Promise<Sweep> {
  const path = resolve(file);
  if (!existsSync(path)) throw new Error(`No sweep at ${file}. Give the path of a file that default-exports a Sweep, such as experiments/dream-queries/sweep.ts.`);
  if (path.endsWith('.ts') && !process.execArgv.some((argument) => argument.includes('tsx'))) {
    const { register: compileTypeScript } = await import('tsx/esm/api');
    compileTypeScript();
  }
  resolveLibrary();
  const { default: sweep } = (await import(pathToFileURL(path).href)) as { default?: Sweep };
  if (!sweep?.question || !sweep.base || !sweep.measurements || !Array.isArray(sweep.seeds)) {
    throw new Error(`${file} does not default-export a Sweep: it needs name, question, base, seeds, train and measurements.`);
  }
  return sweep;
}

let isResolved = false;

/** A sweep file may lie anywhere, and one beside the sources must not load an older build: its `dreamllm` is this very library. */
function resolveLibrary(): void {
  if (isResolved) return;
  isResolved = true;
  const library = new URL(`../index${extname(fileURLToPath(import.meta.url))}`, import.meta.url).href;
  const hook = `export const resolve = (name, context, next) => next(name === 'dreamllm' ? ${JSON.stringify(library)} : name, context);`;
  register(`data:text/javascript,${encodeURIComponent(hook)}`);
}
