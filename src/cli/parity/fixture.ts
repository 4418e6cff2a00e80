import * as tf from '@tensorflow/tfjs';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { toTensor } from '../../core/checkpoint.js';
import { readSafetensors, type StoredTensor } from '../../core/safetensors.js';

/** What `meta.json` says of one stored output. */
export interface OutputMeta {
  /** Largest difference allowed; 0 for exact. */
  tol: number;
}

/** One folder of reference numbers: configuration, weights, inputs and outputs of a model as its original implementation computed them. */
export class Fixture {
  readonly name: string;
  readonly meta: { class?: string; outputs?: Record<string, OutputMeta> } & Record<string, unknown>;
  #inputs?: Map<string, StoredTensor>;
  #outputs?: Map<string, StoredTensor>;

  constructor(readonly folder: string) {
    this.name = basename(folder);
    this.meta = this.has('meta.json') ? (this.json('meta.json') as Fixture['meta']) : {};
  }

  path(file: string): string {
    return join(this.folder, file);
  }

  has(file: string): boolean {
    return existsSync(this.path(file));
  }

  json(file: string): unknown {
    return JSON.parse(readFileSync(this.path(file), 'utf8'));
  }

  /** `config.json`, or an empty object. */
  get config(): Record<string, any> {
    return this.has('config.json') ? (this.json('config.json') as Record<string, unknown>) : {};
  }

  get inputs(): Map<string, StoredTensor> {
    return (this.#inputs ??= this.has('inputs.safetensors') ? readSafetensors(this.path('inputs.safetensors')).tensors : new Map());
  }

  /** The expected outputs. */
  get outputs(): Map<string, StoredTensor> {
    return (this.#outputs ??= this.has('outputs.safetensors') ? readSafetensors(this.path('outputs.safetensors')).tensors : new Map());
  }

  /** An input as a new tensor, in the layout of the file. */
  input<T extends tf.Tensor = tf.Tensor>(name: string): T {
    return toTensor(this.stored(this.inputs, 'inputs', name)) as T;
  }

  /** An integer input of two axes as rows of numbers. */
  inputRows(name: string): number[][] {
    return rows(this.stored(this.inputs, 'inputs', name));
  }

  /** The numbers of an expected output, for runs that depend on it. */
  expected(name: string): StoredTensor {
    return this.stored(this.outputs, 'outputs', name);
  }

  /** Whether any expected output has this name or starts with it and a dot. */
  wants(prefix: string): boolean {
    return [...this.outputs.keys()].some((name) => name === prefix || name.startsWith(`${prefix}.`));
  }

  private stored(tensors: Map<string, StoredTensor>, what: string, name: string): StoredTensor {
    const found = tensors.get(name);
    if (!found) throw new Error(`${this.path(`${what}.safetensors`)} has no "${name}". It has ${[...tensors.keys()].slice(0, 8).join(', ')}, ….`);
    return found;
  }
}

export function rows({ shape: [count, width], values }: StoredTensor): number[][] {
  return Array.from({ length: count }, (_, i) => Array.from({ length: width }, (_, j) => Number(values[i * width + j])));
}

/** Folders with reference numbers among `paths`; a folder of folders gives those inside. Plain files, such as a README beside them, are left out. */
export function fixtureFolders(paths: readonly string[], isFixture: (fixture: Fixture) => boolean): Fixture[] {
  return paths.flatMap((path) => {
    if (!existsSync(path)) throw new Error(`${path} does not exist.`);
    if (!statSync(path).isDirectory()) return [];
    const fixture = new Fixture(path);
    if (isFixture(fixture)) return [fixture];
    const inside = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const found = inside.map(({ name }) => new Fixture(join(path, name)));
    return found.some(isFixture) ? found : [fixture];
  });
}
