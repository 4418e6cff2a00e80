import * as tf from '@tensorflow/tfjs';
import { diffusionPreprocessing, imageTensor, toImages, type RgbImage } from '../../core/images.js';
import { renderScene, sceneAt } from '../../data/scenes.js';
import { decodeLatents, drawLatents, encode, type VaeConfig, type VaeParams } from '../../models/diffusion/index.js';
import { measurement, type Measurement } from '../protocol.js';
import { estimate } from '../statistics.js';
import { defaultTestSet, type CountOptions } from './comprehension.js';

/** Peak signal-to-noise ratio of 8-bit pictures in dB; 100 for equal ones, which have none. */
export function psnr(a: RgbImage, b: RgbImage): number {
  if (a.data.length !== b.data.length) throw new Error(`PSNR: expected pictures of one size, found ${a.width} x ${a.height} and ${b.width} x ${b.height}.`);
  let squares = 0;
  for (let i = 0; i < a.data.length; i++) squares += (a.data[i] - b.data[i]) ** 2;
  return squares === 0 ? 100 : Math.min(100, 10 * Math.log10((255 ** 2 * a.data.length) / squares));
}

/** Mean PSNR of held-out pictures through the autoencoder, latents at the posterior's mean. */
export async function measureReconstruction(vae: { params: VaeParams; config: VaeConfig }, side: number, { count = 128, testSet = defaultTestSet, signal }: CountOptions = {}): Promise<Measurement<{ perImage: number[] }>> {
  const { split, axis, seed } = testSet;
  const perImage: number[] = [];
  const batchSize = 32;
  for (let start = 0; start < count; start += batchSize) {
    signal?.throwIfAborted();
    const pictures = Array.from({ length: Math.min(batchSize, count - start) }, (_, i): RgbImage => ({ width: side, height: side, data: renderScene(sceneAt(seed, start + i, { split, axis }), side) }));
    const decoded = tf.tidy(() => decodeLatents(vae.params, drawLatents(encode(vae.params, imageTensor(pictures, diffusionPreprocessing(side)), vae.config), vae.config), vae.config));
    const images = await toImages(decoded);
    decoded.dispose();
    perImage.push(...images.map((image, i) => psnr(pictures[i], image)));
  }
  const { mean, ci } = estimate(perImage, 'pictures');
  return measurement({
    metric: 'psnr', value: mean, n: count, ci, details: { perImage },
    protocol: { dataset: 'emoji world', split: `${split}, new ${axis}`, testSeed: seed, size: count, resolution: side, formula: '8 bits, dB, posterior mean' },
  });
}
