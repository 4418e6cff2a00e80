import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../core/process.js';

/** Names things by what they are: two equal values have one hash, whatever the order of their keys. */
export function contentHash(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex').slice(0, 16);
}

/** JSON with sorted keys. A function counts by its source, so that a changed measurement has another hash. */
function canonical(value: unknown): string {
  if (typeof value === 'function') return JSON.stringify(String(value));
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value && typeof value === 'object') {
    const entries = Object.entries(value).filter(([, child]) => child !== undefined);
    entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${entries.map(([key, child]) => `${JSON.stringify(key)}:${canonical(child)}`).join(',')}}`;
  }
  if (typeof value === 'number' && !Number.isFinite(value)) throw new Error(`contentHash: expected JSON values, found ${value}.`);
  return JSON.stringify(value) ?? 'null';
}

/** The layers whose code decides what a training run computes. A change of a plot or a page does not make a trial new. */
const computing = ['core', 'text', 'nn', 'models', 'dreamllm', 'data', 'train'];

const versions = new Map<string, string>();

/** Hash of the code that trains, tests left out. Says what would be computed, committed or not. Read once a process, which goes on with the code it has loaded. */
export function codeVersion(layers: readonly string[] = computing): string {
  const name = layers.join(' ');
  const known = versions.get(name);
  if (known) return known;
  const made = hashOf(layers);
  versions.set(name, made);
  return made;
}

function hashOf(layers: readonly string[]): string {
  const hash = createHash('sha256');
  for (const layer of layers) for (const [name, path] of sourceFiles(join(packageRoot(), 'src', layer))) hash.update(name).update(readFileSync(path));
  return hash.digest('hex').slice(0, 16);
}

function* sourceFiles(folder: string, prefix = ''): Generator<[string, string]> {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* sourceFiles(path, `${prefix}${name}/`);
    else if (/\.(ts|c|h|wasm)$/.test(name) && !name.endsWith('.test.ts')) yield [prefix + name, path];
  }
}
