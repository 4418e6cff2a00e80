import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, platform } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { displayName, kernelCommand, kernelName } from './kernel-command.js';

/** Where Jupyter looks for what a user installed (jupyter_core, "Common Directories and File Locations"). */
export function jupyterDataFolder(prefix?: string): string {
  if (prefix !== undefined) return join(prefix, 'share', 'jupyter');
  if (process.env.JUPYTER_DATA_DIR) return process.env.JUPYTER_DATA_DIR;
  if (platform() === 'darwin') return join(homedir(), 'Library', 'Jupyter');
  if (platform() === 'win32') return join(process.env.APPDATA ?? join(homedir(), 'AppData', 'Roaming'), 'jupyter');
  return join(process.env.XDG_DATA_HOME ?? join(homedir(), '.local', 'share'), 'jupyter');
}

/** Tells Jupyter of this kernel. Returns the folder of the kernelspec. */
export function installKernel(prefix?: string): string {
  const folder = join(jupyterDataFolder(prefix), 'kernels', kernelName);
  mkdirSync(folder, { recursive: true });
  const spec = { argv: kernelCommand(), display_name: displayName, language: 'typescript', interrupt_mode: 'message', metadata: { debugger: false } };
  writeFileSync(join(folder, 'kernel.json'), `${JSON.stringify(spec, null, 2)}\n`);
  writeFileSync(join(folder, 'logo-svg.svg'), logo);
  return folder;
}

/** Takes the kernel from Jupyter again. Returns the folder removed, or nothing where there was none. */
export function uninstallKernel(prefix?: string): string | undefined {
  const folder = join(jupyterDataFolder(prefix), 'kernels', kernelName);
  if (!existsSync(join(folder, 'kernel.json'))) return undefined;
  rmSync(folder, { recursive: true });
  return folder;
}

export interface InstalledKernel {
  name: string;
  displayName: string;
  language: string;
  folder: string;
  /** Whether the program it starts is there. */
  works: boolean;
}

/** Kernels of any kind that the user has installed. */
export function listKernels(prefix?: string): InstalledKernel[] {
  const kernels = join(jupyterDataFolder(prefix), 'kernels');
  if (!existsSync(kernels)) return [];
  return readdirSync(kernels)
    .filter((name) => existsSync(join(kernels, name, 'kernel.json')))
    .sort()
    .map((name) => {
      const folder = join(kernels, name);
      const { display_name, language, argv } = JSON.parse(readFileSync(join(folder, 'kernel.json'), 'utf8')) as { display_name: string; language: string; argv: string[] };
      const paths = argv.filter((part) => /^([/\\]|[A-Za-z]:\\)/.test(part));
      return { name, displayName: display_name, language, folder, works: paths.every((path) => existsSync(path)) };
    });
}

/** A moon over a wave: a dream, and the noise it is drawn from. */
const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">
  <rect width="64" height="64" rx="12" fill="#1f2547"/>
  <path d="M40 10a18 18 0 1 0 12 26 15 15 0 0 1-12-26z" fill="#f5d76e"/>
  <path d="M6 50q6.500-8 13 0t13 0 13 0 13 0" fill="none" stroke="#8fb4ff" stroke-width="4" stroke-linecap="round"/>
</svg>
`;
