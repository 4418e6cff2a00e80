import { decodeImage, type RgbImage } from '../core/images.js';
import { useBackend } from '../core/backend.js';
import { extractorId, features as networkFeatures, fidExtractor, imagenetExtractor, type Extractor as Network } from '../models/inception/index.js';
import { features, type Features } from './features.js';
import type { Extractor } from './reference.js';

export interface ExtractorOptions {
  /** Weights file, for the networks that this project does not ship. */
  readonly weights?: string;
  readonly onProgress?: (done: number, total: number) => void;
}

const published = (dim: 2048 | 768 | 192) => ({ weights }: ExtractorOptions): Network => {
  if (!weights) throw new Error('The FID network needs its published weights, pt_inception-2015-12-05 as .pth or .safetensors: give them with --weights FILE.');
  return fidExtractor(weights, dim);
};

const networks: Record<string, (options: ExtractorOptions) => Network> = {
  'inception-mixed5': () => imagenetExtractor('mixed5'),
  'inception-pool2': () => imagenetExtractor('pool2'),
  'fid-2048': published(2048),
  'fid-768': published(768),
  'fid-192': published(192),
};

export const extractorNames = Object.keys(networks);

const picturesAtOnce = 64;

/** The network that turns pictures into features, by name. None of them is ever trained by this project, so what evaluates is not what trains. */
export async function extractorNamed(name: string, options: ExtractorOptions = {}): Promise<Extractor> {
  const network = await loadNetwork(name, options);
  return {
    name: extractorId(network),
    async extract(files, signal) {
      const values = new Float32Array(files.length * network.dim);
      // Decoded pictures of a large folder would not fit into memory together.
      for (let start = 0; start < files.length; start += picturesAtOnce) {
        const images = await Promise.all(files.slice(start, start + picturesAtOnce).map((file) => decodeImage(file)));
        values.set(await networkFeatures(images, { extractor: network, signal }), start * network.dim);
        options.onProgress?.(Math.min(files.length, start + picturesAtOnce), files.length);
      }
      network.dispose();
      return { values, dim: network.dim };
    },
  };
}

/** A network to call on pictures in memory, as often as wanted; `dispose` it after use. */
export async function loadNetwork(name: string, options: ExtractorOptions = {}): Promise<Network> {
  const make = networks[name];
  if (!make) throw new Error(`Unknown extractor "${name}". There are: ${extractorNames.join(', ')}.`);
  await useBackend();
  return make(options);
}

/** Features of pictures in memory. */
export async function pictureFeatures(images: readonly RgbImage[], network: Network, name: string, signal?: AbortSignal): Promise<Features> {
  return features(await networkFeatures(images, { extractor: network, signal }), [images.length, network.dim], name, extractorId(network));
}
