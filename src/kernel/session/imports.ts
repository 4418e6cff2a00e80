import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import vm from 'node:vm';
import { findPackage, lentPackages, packageRoot } from '../packages.js';
import { siblingModule } from '../start-worker.js';

/**
 * Imports for cells of a notebook in `cwd`: relative paths from there, packages from there upwards, and some of the
 * kernel's own where the folder has none. A local file that changed since is loaded afresh.
 */
export class CellImports {
  readonly require: NodeJS.Require;
  private readonly load: Load;
  private readonly loadOwn = loaderFrom(join(packageRoot, 'notebook.js'));
  /** `import.meta` of a cell. */
  readonly meta: { url: string; filename: string; dirname: string };

  constructor(private readonly cwd: string) {
    const file = join(cwd, 'notebook.ts');
    this.require = createRequire(file);
    this.load = loaderFrom(file);
    this.meta = { url: pathToFileURL(file).href, filename: file, dirname: cwd };
  }

  /** Loads a module. `names`: what the cell takes from it, which must be there. */
  async import(specifier: string, names: readonly string[] = []): Promise<Record<string, unknown>> {
    const module = await this.loadFrom(specifier);
    const missing = names.filter((name) => !(name in module));
    if (missing.length > 0) {
      throw new SyntaxError(`'${specifier}' has no export named ${missing.map((name) => `'${name}'`).join(', ')}. It has: ${Object.keys(module).slice(0, 20).join(', ')}.`);
    }
    return module;
  }

  private loadFrom(specifier: string): Promise<Record<string, unknown>> {
    if (specifier === 'dreamllm/notebook') return import(pathToFileURL(siblingModule(import.meta.url, '../notebook')).href);
    if (/^\.{0,2}\//.test(specifier)) {
      const path = resolve(this.cwd, specifier);
      const modified = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
      // Node never loads a module twice; the query makes an edited file a new one.
      return this.load(pathToFileURL(path).href + (modified > startTime ? `?changed=${Math.round(modified)}` : ''));
    }
    const name = /^(@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;
    const isLent = lentPackages.includes(name) && !findPackage(this.cwd, name);
    return isLent ? this.loadOwn(specifier) : this.load(specifier);
  }
}

type Load = (specifier: string) => Promise<Record<string, unknown>>;

const startTime = Date.now();

/** Node's own import, as a module at `file` would call it. */
function loaderFrom(file: string): Load {
  const options = { filename: file, importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER };
  return new vm.Script('(specifier) => import(specifier)', options).runInThisContext() as Load;
}
