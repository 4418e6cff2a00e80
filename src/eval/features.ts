import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { asFloat32, readSafetensors } from '../core/safetensors.js';
import { readNpy } from './npy.js';

/** Feature vectors of n pictures, [n, dim] row-major. */
export interface Features {
  /** Where they come from, for errors and protocols. */
  readonly name: string;
  readonly n: number;
  readonly dim: number;
  readonly values: Float32Array | Float64Array;
  /** Network, layer and weights' hash; `unknown` for a file that does not say. */
  readonly extractor: string;
}

/** Wraps a matrix of features and refuses an empty, misshapen or non-finite one, naming the row. */
export function features(values: Float32Array | Float64Array, [n, dim]: readonly number[], name: string, extractor = 'unknown'): Features {
  if (!(n > 0 && dim > 0)) throw new Error(`${name}: expected features [n, dim], found [${n}, ${dim}]: nothing to measure.`);
  if (values.length !== n * dim) throw new Error(`${name}: expected ${n} x ${dim} values, found ${values.length}.`);
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) {
      throw new Error(`${name}: row ${Math.floor(i / dim)}, column ${i % dim} is ${values[i]}. Look at that picture or leave it out on both sides; it is not skipped silently.`);
    }
  }
  return { name, n, dim, values, extractor };
}

/** Reads `.npy` or `.safetensors` with one tensor [n, dim]; the latter may name its `extractor` in the metadata. */
export function readFeatures(file: string): Features {
  if (extname(file) === '.npy') {
    const { shape, values } = readNpy(readFileSync(file), file);
    if (shape.length !== 2) throw new Error(`${file}: expected a matrix [n, dim], found shape [${shape.join(', ')}].`);
    return features(values, shape, file);
  }
  if (extname(file) !== '.safetensors') throw new Error(`${file}: expected features as .npy or .safetensors, or a folder of pictures.`);
  const { tensors, metadata } = readSafetensors(file);
  if (tensors.size !== 1) throw new Error(`${file}: expected one tensor [n, dim], found ${tensors.size} (${[...tensors.keys()].slice(0, 4).join(', ')}).`);
  const [{ shape, values }] = tensors.values();
  if (shape.length !== 2) throw new Error(`${file}: expected a matrix [n, dim], found shape [${shape.join(', ')}].`);
  return features(values instanceof Float64Array ? values : asFloat32(values), shape, file, metadata.extractor);
}

/** Two sets that may be compared: the same dimension and, where both say it, the same extractor. */
export function checkComparable(a: Features, b: Features): void {
  if (a.dim !== b.dim) throw new Error(`${a.name} has ${a.dim} columns and ${b.name} has ${b.dim}: extract both with one network.`);
  if (a.extractor !== b.extractor && a.extractor !== 'unknown' && b.extractor !== 'unknown') {
    throw new Error(`${a.name} was extracted with ${a.extractor} and ${b.name} with ${b.extractor}: extract both with one network.`);
  }
}

/** The given rows as features of their own. */
export function selectRows(from: Features, rows: ArrayLike<number>, name = from.name): Features {
  const { dim, values } = from;
  const chosen = values instanceof Float64Array ? new Float64Array(rows.length * dim) : new Float32Array(rows.length * dim);
  for (let i = 0; i < rows.length; i++) {
    if (!(rows[i] >= 0 && rows[i] < from.n)) throw new Error(`${from.name}: expected a row below ${from.n}, found ${rows[i]}.`);
    chosen.set(values.subarray(rows[i] * dim, (rows[i] + 1) * dim) as never, i * dim);
  }
  return { ...from, name, n: rows.length, values: chosen };
}

/** 16 hexadecimal digits that name these values. */
export function featuresHash({ n, dim, values, extractor }: Features): string {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return createHash('sha256').update(`${n} ${dim} ${extractor} `).update(bytes).digest('hex').slice(0, 16);
}
