import * as tf from '@tensorflow/tfjs';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { covers, flatten, initialValues, mapSpec, requireRoomFor, specEntries, variable, type Params, type Spec } from './params.js';
import {
  asFloat32, elementCount, isFloat, openSafetensors, openShards, reusedScratch, writeAtomically, writeSafetensors,
  type Scratch, type StoredTensor, type TensorInfo, type TensorSource, type TensorToWrite,
} from './safetensors.js';
import { isLegacyTorch, openLegacyTorchCheckpoint } from './torch-legacy.js';
import { isZip, openTorchCheckpoint } from './torch-zip.js';
import { canWiden, widen } from './widen.js';

/** Names of weights inside a folder, as Hugging Face libraries write them, in the order they are looked for. */
const folderNames = [
  'model.safetensors', 'model.safetensors.index.json', 'diffusion_pytorch_model.safetensors', 'diffusion_pytorch_model.safetensors.index.json',
  'pytorch_model.bin', 'pytorch_model.bin.index.json', 'diffusion_pytorch_model.bin',
];

/** Opens a .safetensors file, a torch .bin / .pt file, the index of a sharded checkpoint, or a folder that holds one of them. The caller closes it. */
export function openCheckpoint(path: string): TensorSource {
  if (!existsSync(path)) throw new Error(`${path} does not exist: expected a checkpoint file or a folder with one.`);
  if (statSync(path).isDirectory()) {
    const found = folderNames.find((name) => existsSync(join(path, name)));
    if (found) return openCheckpoint(join(path, found));
    const files = readdirSync(path).filter((name) => name.endsWith('.safetensors'));
    if (files.length === 1) return openSafetensors(join(path, files[0]));
    throw new Error(`${path}: expected one of ${folderNames.join(', ')} or a single .safetensors file, found ${files.length ? files.join(', ') : 'none'}.`);
  }
  if (path.endsWith('.index.json')) return openShards(path, openCheckpoint);
  if (path.endsWith('.safetensors')) return openSafetensors(path);
  if (isZip(path)) return openTorchCheckpoint(path);
  return isLegacyTorch(path) ? openLegacyTorchCheckpoint(path) : openSafetensors(path);
}

/** The tensors of `source` with `prefix.` before their keys. */
export function prefixed(source: TensorSource, prefix: string): TensorSource {
  const start = `${prefix}.`;
  return {
    name: source.name,
    metadata: source.metadata,
    tensors: new Map([...source.tensors].map(([key, info]) => [start + key, info])),
    read: (key) => source.read(key.slice(start.length)),
    readRaw: (key, scratch) => source.readRaw?.(key.slice(start.length), scratch),
    locate: (key) => source.locate?.(key.slice(start.length)),
    close: () => source.close(),
  };
}

/** One source of several. Where two hold one key the later one counts if `override`, and it is an error otherwise. */
export function merged(sources: readonly TensorSource[], { override = false } = {}): TensorSource {
  const owners = new Map<string, TensorSource>();
  for (const source of sources) {
    for (const key of source.tensors.keys()) {
      const other = owners.get(key);
      if (other && !override) throw new Error(`"${key}" is in ${other.name} and in ${source.name}. Leave one of them out.`);
      owners.set(key, source);
    }
  }
  const ownerOf = (key: string): TensorSource => {
    const owner = owners.get(key);
    if (!owner) throw new Error(`No tensor "${key}" in ${sources.map(({ name }) => name).join(', ')}.`);
    return owner;
  };
  return {
    name: sources.map(({ name }) => name).join(' + '),
    metadata: Object.assign({}, ...sources.map(({ metadata }) => metadata)),
    tensors: new Map([...owners].map(([key, owner]) => [key, owner.tensors.get(key)!])),
    read: (key) => ownerOf(key).read(key),
    readRaw: (key, scratch) => ownerOf(key).readRaw?.(key, scratch),
    locate: (key) => ownerOf(key).locate?.(key),
    close: () => sources.forEach((source) => source.close()),
  };
}

export interface LoadOptions {
  /** Only keys below it are looked at, and it is cut off: `model.clip_vision_embedding` for one part of a whole model. */
  prefix?: string;
  /** The parameter that a key of the file (after `prefix`) stands for; null where the model does not want it. */
  rename?: (key: string) => string | null;
  /** Keys of the file (after `prefix`) that may be there and are not read, such as a rotary `inv_freq`. */
  ignore?: RegExp;
  /** Parameters below `prefixes` that the file lacks start from `seed`, as `initialize` would make them under the key `keyPrefix.key`. */
  allowMissing?: { prefixes: readonly string[]; seed: number; keyPrefix?: string };
  /** Takes sentences about what was done to the values, such as widening float16. Silent otherwise. */
  note?: (line: string) => void;
  /** Memory to read into, for a caller that loads again and again. Default: one for each call. */
  scratch?: Scratch;
}

/**
 * Makes the variables of `spec` from a checkpoint. Strict: a parameter that is missing, unexpected, of another shape or dtype, or not finite is an
 * error that lists them, and so is a model that has no room. Values of 16 bits are widened and computed with in float32. The caller disposes the tree.
 */
export function loadParams<S extends Spec>(spec: S, from: string | TensorSource, options: LoadOptions = {}): Params<S> {
  const entries = specEntries(spec);
  for (const [key, { shape, layout }] of entries) checkLayout(key, shape, layout);
  return withSource(from, (source) => {
    const keys = requireFit(entries, source, options);
    requireRoomFor(spec);
    const scratch = options.scratch ?? reusedScratch();
    const made: tf.Variable[] = [];
    try {
      return mapSpec(spec, (key, leaf) => {
        const sourceKey = keys.get(key);
        const { seed = 0, keyPrefix } = options.allowMissing ?? {};
        const result = sourceKey === undefined
          ? variable(initialValues(leaf, seed, keyPrefix ? `${keyPrefix}.${key}` : key), leaf.shape)
          : readVariable(source, sourceKey, leaf.shape, scratch);
        made.push(result);
        return result;
      });
    } catch (error) {
      tf.dispose(made);
      throw error;
    }
  });
}

/** Overwrites the variables of `params` with a checkpoint's, as strictly as `loadParams`. Parameters under `allowMissing` keep their values. */
export function assignParams(params: unknown, from: string | TensorSource, options: LoadOptions = {}): void {
  const variables = flatten(params);
  withSource(from, (source) => {
    for (const [key, sourceKey] of requireFit(variables, source, options)) {
      const target = variables.get(key)!;
      const value = tf.tensor(readParameter(source, sourceKey, target.shape), target.shape);
      target.assign(value);
      value.dispose();
    }
  });
}

function withSource<T>(from: string | TensorSource, use: (source: TensorSource) => T): T {
  if (typeof from !== 'string') return use(from);
  const source = openCheckpoint(from);
  try {
    return use(source);
  } finally {
    source.close();
  }
}

/** What stands between a model and a checkpoint, without reading a value. */
export interface Fit {
  /** Checkpoint key by parameter. */
  keys: Map<string, string>;
  missing: string[];
  unexpected: string[];
  /** Sentences about parameters whose shape or dtype differs. */
  mismatched: string[];
  /** Bytes-saving dtypes found, such as F16. */
  narrow: Set<string>;
}

/** Compares parameters (shapes in memory) with what a source holds. */
export function fit(parameters: ReadonlyMap<string, { shape: number[] }>, source: TensorSource, options: LoadOptions = {}): Fit {
  const { prefix, rename = (key: string) => key, ignore } = options;
  const result: Fit = { keys: new Map(), missing: [], unexpected: [], mismatched: [], narrow: new Set() };
  for (const [sourceKey, info] of source.tensors) {
    if (prefix && !covers(prefix, sourceKey)) continue;
    const key = prefix ? sourceKey.slice(prefix.length + 1) : sourceKey;
    if (ignore?.test(key)) continue;
    const target = rename(key);
    if (target === null) continue;
    const wanted = parameters.get(target);
    if (!wanted) result.unexpected.push(sourceKey);
    else if (result.keys.has(target)) result.mismatched.push(`${target}: stands both under "${result.keys.get(target)}" and "${sourceKey}"`);
    else {
      result.keys.set(target, sourceKey);
      const complaint = compare(info, fileShape(wanted.shape));
      if (complaint) result.mismatched.push(`${sourceKey}: ${complaint}`);
      if (info.dtype !== 'F32') result.narrow.add(info.dtype);
    }
  }
  result.missing = [...parameters.keys()].filter((key) => !result.keys.has(key));
  return result;
}

function compare({ dtype, shape }: TensorInfo, expected: number[]): string | undefined {
  if (!isFloat(dtype)) return `expected a floating-point dtype, found ${dtype}`;
  if (shape.length !== expected.length || shape.some((size, i) => size !== expected[i])) return `expected shape [${expected.join(', ')}], found [${shape.join(', ')}]`;
  return undefined;
}

/** The checkpoint key of each parameter; an error that lists what does not fit. Reads no value. */
export function requireFit(parameters: ReadonlyMap<string, { shape: number[] }>, source: TensorSource, options: LoadOptions = {}): Map<string, string> {
  const { keys, missing, unexpected, mismatched, narrow } = fit(parameters, source, options);
  const lacking = missing.filter((key) => !options.allowMissing?.prefixes.some((prefix) => covers(prefix, key)));
  if (lacking.length || unexpected.length || mismatched.length) {
    const list = (what: string, keys: string[]) => (keys.length ? [`  ${keys.length} ${what}: ${keys.slice(0, 5).join(', ')}${keys.length > 5 ? ', …' : ''}`] : []);
    throw new Error(
      [
        `${source.name} does not fit the model (${parameters.size} parameters${options.prefix ? ` below "${options.prefix}"` : ''}):`,
        ...list('missing', lacking),
        ...list('unexpected', unexpected),
        ...list('mismatched', mismatched),
        'Check that the checkpoint belongs to this configuration; "dreamllm inspect" shows what it holds.',
      ].join('\n'),
    );
  }
  if (narrow.size && options.note) options.note(`${source.name} stores ${[...narrow].join(', ')}: widened, computed in float32.`);
  return keys;
}

/** A stored parameter as a variable. Matrices and vectors go from the file's bytes to the tensor's memory in one pass. */
function readVariable(source: TensorSource, key: string, shape: number[], scratch: Scratch): tf.Variable {
  const raw = shape.length === 4 ? undefined : source.readRaw?.(key, scratch);
  if (!raw || !canWiden(raw.dtype)) return variable(readParameter(source, key, shape), shape);
  const { tensor, notFinite } = widen(raw.dtype, raw.bytes, shape);
  const made = tf.variable(tensor);
  tensor.dispose();
  if (notFinite === 0) return made;
  made.dispose();
  throw notFiniteError(source, key, notFinite, elementCount(shape));
}

const notFiniteError = (source: TensorSource, key: string, bad: number, count: number) =>
  new Error(`${source.name}: "${key}" has ${bad} of ${count} values that are NaN or infinite. The run that wrote it diverged, or the file is damaged.`);

function readParameter(source: TensorSource, key: string, shape: number[]): Float32Array {
  const values = asFloat32(source.read(key).values);
  let bad = 0;
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) bad++;
  if (bad) throw notFiniteError(source, key, bad, values.length);
  return shape.length === 4 ? kernelToMemory(values, fileShape(shape)) : values;
}

/**
 * Convolution kernels are [height, width, in, out] in memory and [out, in, height, width] in files. Every parameter of rank 4 is one, so a tree
 * of variables can be written without its spec; `loadParams` refuses a spec that breaks the rule.
 */
function checkLayout(key: string, shape: number[], layout: 'conv' | undefined): void {
  if ((shape.length === 4) !== (layout === 'conv')) {
    throw new Error(`Parameter "${key}" has rank ${shape.length} and layout ${layout ?? 'as it is'}. Rank 4 and layout "conv" must go together.`);
  }
}

const fileShape = (shape: number[]): number[] => (shape.length === 4 ? [shape[3], shape[2], shape[0], shape[1]] : shape);

function kernelToMemory(values: Float32Array, [out, inner, height, width]: number[]): Float32Array {
  const result = new Float32Array(values.length);
  const area = height * width;
  for (let o = 0, from = 0; o < out; o++)
    for (let i = 0; i < inner; i++) for (let at = 0; at < area; at++) result[(at * inner + i) * out + o] = values[from++];
  return result;
}

function kernelToFile(values: Float32Array, [height, width, inner, out]: number[]): Float32Array {
  const result = new Float32Array(values.length);
  const area = height * width;
  for (let at = 0, from = 0; at < area; at++)
    for (let i = 0; i < inner; i++) for (let o = 0; o < out; o++) result[(o * inner + i) * area + at] = values[from++];
  return result;
}

export interface SaveOptions {
  /** Default 'f32'. Rounded to nearest, ties to even. */
  dtype?: 'f32' | 'f16' | 'bf16';
  metadata?: Record<string, string>;
}

/** Makes values of a parameter tree, or of tensors by key, ready to be saved: a GPU in WebGPU hands them over only to those who wait. */
export async function fetchValues(params: unknown): Promise<void> {
  if (tf.getBackend() === 'webgpu') for (const tensor of byKey(params).values()) await tensor.data();
}

const byKey = (params: unknown): ReadonlyMap<string, tf.Tensor> => (params instanceof Map ? (params as Map<string, tf.Tensor>) : flatten(params));

/**
 * Writes a parameter tree, or tensors by key, as one safetensors file under checkpoint keys and in the layout of files. Refuses values that are not finite.
 * What was computed on a GPU in WebGPU is fetched first (`fetchValues`).
 */
export function saveParams(file: string, params: unknown, { dtype = 'f32', metadata }: SaveOptions = {}): void {
  const stored = { f32: 'F32', f16: 'F16', bf16: 'BF16' } as const;
  const entries = [...byKey(params)].map(([key, tensor]): [string, TensorToWrite] => {
    const values = () => {
      const data = tensor.dataSync() as Float32Array;
      if (!data.every(Number.isFinite)) throw new Error(`${file} was not written: "${key}" holds NaN or infinity.`);
      return tensor.rank === 4 ? kernelToFile(data, tensor.shape) : data;
    };
    return [key, { dtype: stored[dtype], shape: fileShape(tensor.shape), values }];
  });
  writeSafetensors(file, new Map(entries), metadata);
}

/** A stored tensor as a tfjs tensor: floats as float32, every integer as int32. Shape and layout as in the file. */
export function toTensor({ dtype, shape, values }: StoredTensor): tf.Tensor {
  if (isFloat(dtype)) return tf.tensor(asFloat32(values), shape, 'float32');
  return tf.tensor(Int32Array.from(values as ArrayLike<number | bigint>, Number), shape, 'int32');
}

/** SHA-256 of a file, hexadecimal. */
export function hashFile(file: string): string {
  const hash = createHash('sha256');
  const fd = openSync(file, 'r');
  try {
    const chunk = Buffer.alloc(1 << 22);
    for (let count; (count = readSync(fd, chunk)) > 0; ) hash.update(chunk.subarray(0, count));
    return hash.digest('hex');
  } finally {
    closeSync(fd);
  }
}

/** SHA-256 over the keys and shapes that a spec declares. */
export function hashSpec(spec: Spec): string {
  const hash = createHash('sha256');
  for (const [key, { shape }] of specEntries(spec)) hash.update(`${key} ${shape.join(',')}\n`);
  return hash.digest('hex');
}

/** Where weights come from: what a stage leaves behind besides them. Lies in `artefact.json` and, but for `hash`, in the weights' own metadata. */
export interface Artefact {
  /** Such as 'foundation' or 'i-gpt'. */
  name: string;
  /** `hashSpec` of the whole model. */
  spec: string;
  /** Prefixes of what the stage trained. */
  trainable: string[];
  /** Hashes of the weights that it started from; none when it started from a seed. */
  parents: string[];
  /** SHA-256 of model.safetensors. */
  hash: string;
  /** Settings, seed, versions: whatever a reader should know. */
  about: Record<string, unknown>;
}

const weightsFile = 'model.safetensors';
const artefactFile = 'artefact.json';

/** Writes `dir/model.safetensors` and `dir/artefact.json`, in this order, so that a folder with the second is complete. */
export function saveArtefact(dir: string, params: unknown, artefact: Omit<Artefact, 'hash'>, dtype: SaveOptions['dtype'] = 'f32'): Artefact {
  const file = join(dir, weightsFile);
  const { name, spec, trainable, parents } = artefact;
  saveParams(file, params, { dtype, metadata: { artefact: JSON.stringify({ name, spec, trainable, parents }) } });
  const complete: Artefact = { ...artefact, hash: hashFile(file) };
  writeAtomically(join(dir, artefactFile), (write) => write(Buffer.from(`${JSON.stringify(complete, null, 2)}\n`)));
  return complete;
}

export interface ArtefactExpectations {
  /** Hash of weights that must be among the parents. */
  expectedParent?: string;
  /** The model that the weights are for. */
  expectedSpec?: Spec;
}

/** Opens a stage's weights after checking that they are the ones it wrote, for this model, from the expected parent. The caller closes the source. */
export function loadArtefact(dir: string, { expectedParent, expectedSpec }: ArtefactExpectations = {}): { artefact: Artefact; source: TensorSource } {
  const [file, beside] = [join(dir, weightsFile), join(dir, artefactFile)];
  for (const path of [beside, file]) {
    if (!existsSync(path)) throw new Error(`${dir} is no finished artefact: ${path} is missing. Finish the stage that writes it (--resume).`);
  }
  const artefact = JSON.parse(readFileSync(beside, 'utf8')) as Artefact;
  const refuse = (what: string, expected: string, found: string, remedy: string): never => {
    throw new Error(`${dir}: ${what} differs: expected ${expected}, found ${found}. ${remedy}`);
  };
  const hash = hashFile(file);
  if (hash !== artefact.hash) refuse(`the hash of ${weightsFile}`, artefact.hash, hash, 'The weights were changed after the stage wrote them; run it again.');
  if (expectedParent && !artefact.parents.includes(expectedParent)) {
    refuse('the parent', expectedParent, artefact.parents.join(', ') || 'none (a seed)', 'Train this stage again from the parent that you want.');
  }
  if (expectedSpec && artefact.spec !== hashSpec(expectedSpec)) {
    refuse('the model', `spec ${hashSpec(expectedSpec).slice(0, 12)}`, artefact.spec.slice(0, 12), 'Use the preset that it was trained with.');
  }
  const source = openSafetensors(file);
  const { name, spec, trainable, parents } = artefact;
  const inside = source.metadata.artefact ?? 'nothing';
  if (inside !== JSON.stringify({ name, spec, trainable, parents })) {
    source.close();
    refuse(`${artefactFile} and the metadata of ${weightsFile}`, inside, JSON.stringify({ name, spec, trainable, parents }), 'One of them was replaced; run the stage again.');
  }
  return { artefact, source };
}
