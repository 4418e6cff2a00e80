import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { readSafetensors, writeSafetensors, type TensorToWrite } from '../core/safetensors.js';
import { features, featuresHash, readFeatures, type Features } from './features.js';
import { factored, moments, type FactoredMoments } from './frechet.js';
import { readNpz } from './npy.js';

const pictureTypes = new Set(['.png', '.jpg', '.jpeg', '.webp', '.gif', '.bmp', '.tif', '.tiff', '.avif']);

/** The pictures of a folder, sorted by name, and the names of what else lies there. A folder without pictures is an error. */
export function pictureFiles(folder: string): { files: string[]; others: string[] } {
  const names = readdirSync(folder).filter((name) => !name.startsWith('.')).sort();
  const isPicture = (name: string) => pictureTypes.has(extname(name).toLowerCase());
  const files = names.filter(isPicture).map((name) => join(folder, name));
  if (files.length === 0) throw new Error(`${folder}: expected pictures (${[...pictureTypes].join(', ')}), found none among ${names.length} entries.`);
  return { files, others: names.filter((name) => !isPicture(name)) };
}

/** The networks that `extractors.ts` knows: two layers of an ImageNet Inception, the FID network by its layers, and the foundation's CLIP. */
export const extractorNames = ['inception-mixed5', 'inception-pool2', 'fid-2048', 'fid-768', 'fid-192', 'nano-clip'] as const;
export type ExtractorName = (typeof extractorNames)[number];

/** Turns picture files into features; the network is known by name. */
export interface Extractor {
  /** Network, layer and weights' hash. */
  readonly name: string;
  extract(files: readonly string[], signal?: AbortSignal): Promise<{ values: Float32Array; dim: number }>;
}

/** Features of a folder of pictures or of a feature file. Only a folder needs the extractor. `warn` hears of files that are no pictures. */
export async function featuresOf(path: string, extractor: () => Promise<Extractor>, warn: (message: string) => void, signal?: AbortSignal): Promise<Features> {
  if (!existsSync(path)) throw new Error(`${path} does not exist.`);
  if (!statSync(path).isDirectory()) return readFeatures(path);
  const { files, others } = pictureFiles(path);
  if (others.length > 0) warn(`${path}: ${others.length} entries that are no pictures were left out, first ${others[0]}.`);
  const { name, extract } = await extractor();
  const { values, dim } = await extract(files, signal);
  return features(values, [files.length, dim], path, name);
}

/** Hash of a file, or of the names and bytes of a folder's pictures. */
export function sourceHash(path: string, extractor = ''): string {
  const hash = createHash('sha256').update(extractor);
  const files = statSync(path).isDirectory() ? pictureFiles(path).files : [path];
  for (const file of files) hash.update(`${file.length} `).update(readFileSync(file));
  return hash.digest('hex').slice(0, 16);
}

/** Published reference statistics: an `.npz` with `mu` and `sigma`, as pytorch-fid writes and many papers ship. */
export function readMoments(file: string): FactoredMoments {
  const arrays = readNpz(readFileSync(file), file);
  const [mu, sigma] = [arrays.get('mu'), arrays.get('sigma')];
  if (!mu || !sigma) throw new Error(`${file}: expected arrays mu and sigma, found ${[...arrays.keys()].join(', ') || 'none'}.`);
  const dim = mu.values.length;
  if (sigma.shape.length !== 2 || sigma.shape.some((size) => size !== dim)) throw new Error(`${file}: expected sigma [${dim}, ${dim}] to mu [${dim}], found [${sigma.shape.join(', ')}].`);
  for (const [name, { values }] of [['mu', mu], ['sigma', sigma]] as const) {
    const wrong = values.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) throw new Error(`${file}: ${name} holds ${values[wrong]} at position ${wrong}.`);
  }
  return factored({ name: file, dim, mean: Float64Array.from(mu.values), covariance: Float64Array.from(sigma.values) });
}

/** Moments of a reference, read from `folder` where they were kept under the hash of their source, else made and kept there. */
export async function keptMoments(folder: string, hash: string, make: () => Promise<Features>): Promise<FactoredMoments> {
  const file = join(folder, `moments-${hash}.safetensors`);
  if (existsSync(file)) {
    const { tensors, metadata } = readSafetensors(file);
    const [mean, covariance, factor] = ['mean', 'covariance', 'factor'].map((key) => {
      const values = tensors.get(key)?.values;
      if (!(values instanceof Float64Array)) throw new Error(`${file}: expected the float64 tensor "${key}". Delete the file to have it made again.`);
      return values;
    });
    const dim = mean.length;
    return { name: metadata.name, n: Number(metadata.n), dim, hash: metadata.features, extractor: metadata.extractor, mean, covariance, factor: { size: dim, rank: Number(metadata.rank), values: factor } };
  }
  const source = await make();
  const made = { ...factored(moments(source)), hash: featuresHash(source), extractor: source.extractor };
  const tensor = (shape: number[], values: Float64Array): TensorToWrite => ({ dtype: 'F64', shape, values });
  writeSafetensors(file, new Map([
    ['mean', tensor([made.dim], made.mean)], ['covariance', tensor([made.dim, made.dim], made.covariance)], ['factor', tensor([made.dim, made.dim], made.factor.values)],
  ]), { name: made.name, n: String(made.n), rank: String(made.factor.rank), features: made.hash, extractor: made.extractor });
  return made;
}
