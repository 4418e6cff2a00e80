import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { hashFile, loadParams, openCheckpoint } from '../core/checkpoint.js';
import { decodeImage, type RgbImage } from '../core/images.js';
import { packageRoot } from '../core/process.js';
import { useBackend } from '../core/backend.js';
import { nanoTokenizer } from '../data/tokenizer.js';
import { nanoClip } from '../dreamllm/presets.js';
import { clipSpec } from '../models/clip/index.js';
import { extractorId, features as networkFeatures, fidExtractor, imagenetExtractor, type Extractor as Network } from '../models/inception/index.js';
import { features, type Features } from './features.js';
import { embedPictures, embedTexts, type ClipJudge } from './nano/clip.js';
import { extractorNames, type Extractor, type ExtractorName } from './reference.js';

export interface ExtractorOptions {
  /** Weights file, for the networks that this project does not ship. */
  readonly weights?: string;
  readonly onProgress?: (done: number, total: number) => void;
}

const published = (dim: 2048 | 768 | 192) => ({ weights }: ExtractorOptions): Network => {
  if (!weights) throw new Error('The FID network needs its published weights, pt_inception-2015-12-05 as .pth or .safetensors: give them with --weights FILE.');
  return fidExtractor(weights, dim);
};

const networks: Record<Exclude<ExtractorName, 'nano-clip'>, (options: ExtractorOptions) => Network> = {
  'inception-mixed5': () => imagenetExtractor('mixed5'),
  'inception-pool2': () => imagenetExtractor('pool2'),
  'fid-2048': published(2048),
  'fid-768': published(768),
  'fid-192': published(192),
};

const picturesAtOnce = 64;

/** The network that turns pictures into features, by name. The Inceptions are never trained by this project: what evaluates is not what trains. */
export async function extractorNamed(name: string, options: ExtractorOptions = {}): Promise<Extractor> {
  // The CLIP of the foundation was trained by this project, on training pictures alone: for distances take an Inception.
  if (name === 'nano-clip') return clipExtractor(options);
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

async function clipExtractor({ weights, onProgress }: ExtractorOptions): Promise<Extractor> {
  const judge = await loadClipJudge(weights);
  return {
    name: judge.name,
    async extract(files, signal) {
      const dim = judge.config.projectionSize;
      const values = new Float32Array(files.length * dim);
      for (let start = 0; start < files.length; start += picturesAtOnce) {
        signal?.throwIfAborted();
        const images = await Promise.all(files.slice(start, start + picturesAtOnce).map((file) => decodeImage(file)));
        values.set(await embedPictures(judge, images), start * dim);
        onProgress?.(Math.min(files.length, start + picturesAtOnce), files.length);
      }
      return { values, dim };
    },
  };
}

/** The nano foundation's CLIP from `weights` (default: the committed ones), named with their hash. */
export async function loadClipJudge(weights = join(packageRoot(), 'data/foundation/clip.safetensors')): Promise<ClipJudge> {
  if (!existsSync(weights)) throw new Error(`${weights} is missing. Train the foundation's CLIP ("dreamllm foundation train --only clip") or give its file with --weights.`);
  await useBackend();
  const source = openCheckpoint(weights);
  try {
    return { params: loadParams(clipSpec(nanoClip), source), config: nanoClip, tokenizer: nanoTokenizer(), name: `nano-clip#${hashFile(weights).slice(0, 8)}` };
  } finally {
    source.close();
  }
}

/** Unit embeddings of texts by the nano CLIP. */
export async function clipTextFeatures(texts: readonly string[], name: string, weights?: string): Promise<Features> {
  const judge = await loadClipJudge(weights);
  return features(await embedTexts(judge, texts), [texts.length, judge.config.projectionSize], name, judge.name);
}

/** A network to call on pictures in memory, as often as wanted; `dispose` it after use. */
export async function loadNetwork(name: string, options: ExtractorOptions = {}): Promise<Network> {
  if (!Object.hasOwn(networks, name)) throw new Error(`Unknown extractor "${name}". There are: ${extractorNames.join(', ')}.`);
  await useBackend();
  return networks[name as keyof typeof networks](options);
}

/** Features of pictures in memory. */
export async function pictureFeatures(images: readonly RgbImage[], network: Network, name: string, signal?: AbortSignal): Promise<Features> {
  return features(await networkFeatures(images, { extractor: network, signal }), [images.length, network.dim], name, extractorId(network));
}
