import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import type { Converter } from 'tslab/dist/converter.js';
import type * as TypeScript from '@tslab/typescript-for-tslab';
import { findPackage, lentPackages, packageRoot } from '../packages.js';
import { siblingModule } from '../start-worker.js';

/**
 * tslab's converter and the TypeScript it is built on, set up for this project. The converter fixes its compiler options
 * in its own code, but takes them to TypeScript through one function, so TypeScript is handed to it with that function
 * wrapped. tslab is pinned to an exact version, and tests over the wire hold this together.
 */
const requireHere = createRequire(import.meta.url);
const requireTslab = createRequire(requireHere.resolve('tslab/dist/converter.js'));
const compilerPath = requireTslab.resolve('@tslab/typescript-for-tslab');

export const ts: typeof TypeScript = requireTslab(compilerPath);

let folder = process.cwd();
let program: TypeScript.Program | undefined;

/** "File … is not under 'rootDir'". */
const outsideRoot = 6059;
// tslab's TypeScript has functions that the published types do not mention.
const preEmitDiagnostics = (ts as unknown as { getPreEmitDiagnosticsOfFiles(...args: unknown[]): TypeScript.Diagnostic[] }).getPreEmitDiagnosticsOfFiles;

const wrapped = {
  ...ts,
  sys: Object.assign(Object.create(ts.sys) as TypeScript.System, {
    getCurrentDirectory: () => folder,
    // Packages do not change while a kernel runs, and thousands of watchers would be the price of looking.
    watchFile: () => ({ close() {} }),
    watchDirectory: () => ({ close() {} }),
  }),
  // The converter declares its folder to be the root of all sources, but notebooks import from beside and above it too.
  getPreEmitDiagnosticsOfFiles: (...args: unknown[]) => preEmitDiagnostics(...args).filter(({ code }) => code !== outsideRoot),
  createWatchCompilerHost(files: string[], options: TypeScript.CompilerOptions, ...rest: unknown[]) {
    const create = ts.createWatchCompilerHost as unknown as (...args: unknown[]) => TypeScript.WatchCompilerHostOfFilesAndCompilerOptions<TypeScript.BuilderProgram>;
    const host = create(files, { ...options, ...projectOptions(folder) }, ...rest);
    const createProgram = host.createProgram.bind(host);
    host.createProgram = (...args) => {
      const builder = createProgram(...args);
      program = builder.getProgram();
      return forCells(builder);
    };
    return host;
  },
};
requireTslab.cache[compilerPath]!.exports = wrapped;
const { createConverter } = requireHere('tslab/dist/converter.js') as typeof import('tslab/dist/converter.js');

/** The file name the converter gives to the cell at hand. */
const isCell = (file: string) => file.endsWith('/__tslab__.ts');

/** Adapts what the converter sees of a program: see the comments at each change. */
function forCells(builder: TypeScript.BuilderProgram): TypeScript.BuilderProgram {
  const dependencies = builder.getAllDependencies.bind(builder);
  // The converter would check and compile imported TypeScript files too, and refuses those outside its folder. They are
  // the project's own concern and are run by the project's loader.
  builder.getAllDependencies = (file) => dependencies(file).filter((name) => name === file.fileName);

  const sourceFile = builder.getSourceFile.bind(builder);
  builder.getSourceFile = (name) => {
    const file = sourceFile(name);
    const locals = (file as { locals?: Map<string, unknown> } | undefined)?.locals;
    // The converter exports each of these names from the cell, but by TypeScript's internal spelling, in which
    // identifiers that start with two underscores have three.
    if (locals && isCell(name)) {
      locals.forEach = (visit) => Map.prototype.forEach.call(locals, (symbol, key) => visit(symbol, ts.unescapeLeadingUnderscores(key), locals));
    }
    return file;
  };
  return builder;
}

function projectOptions(cwd: string): TypeScript.CompilerOptions {
  return {
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    strict: true,
    disableTopLevelAwait: false, // tslab's own option: cells run where await is allowed
    lib: ['lib.es2023.d.ts'],
    paths: lentTypes(cwd),
    types: ['node'],
    typeRoots: [dirname(dirname(requireHere.resolve('@types/node/package.json')))],
  };
}

/** Types of what the kernel lends to folders without packages of their own. `dreamllm/notebook` is always the kernel's. */
function lentTypes(cwd: string): Record<string, string[]> {
  const paths: Record<string, string[]> = { 'dreamllm/notebook': [siblingModule(import.meta.url, '../notebook').replace(/\.js$/, '.d.ts')] };
  for (const name of lentPackages) {
    if (findPackage(cwd, name)) continue;
    const folder = name === 'dreamllm' ? packageRoot : findPackage(packageRoot, name);
    if (folder) paths[name] = [folder];
  }
  return paths;
}

export type { Converter };

/** A converter whose cells are files of `cwd`. Takes about a second. */
export function openConverter(cwd: string): Converter {
  folder = cwd;
  return createConverter({ isJS: false, isBrowser: false });
}

/** The program of the last check: types of the cell at hand and of everything it imports. */
export function lastProgram(): TypeScript.Program {
  if (!program) throw new Error('No cell was checked yet.');
  return program;
}

export function cellOf(checked: TypeScript.Program): TypeScript.SourceFile {
  return checked.getSourceFiles().find(({ fileName }) => isCell(fileName))!;
}
