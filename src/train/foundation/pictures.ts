import * as tf from '@tensorflow/tfjs';
import { clipPreprocessing, contactSheet, diffusionPreprocessing, encodePng, imageTensor, type RgbImage } from '../../core/images.js';
import { pairAt } from '../../data/captions.js';
import type { Scene, SceneOptions } from '../../data/scenes.js';
import { renderScene } from '../../data/scenes.js';
import { writeAtomically } from '../../core/safetensors.js';

export interface Example {
  id: string;
  caption: string;
  scene: Scene;
  picture: RgbImage;
}

/** Captioned picture `index` of the endless list of a split, drawn at `side` pixels. */
export function exampleAt(seed: number, index: number, options: SceneOptions, side: number): Example {
  const { id, caption, scene } = pairAt(seed, index, options);
  return { id, caption, scene, picture: { width: side, height: side, data: renderScene(scene, side) } };
}

/** `count` examples of which no two have the same caption, beginning with number `from`: in a contrastive batch equal captions would be counted as wrong. */
export function distinctExamples(seed: number, from: number, count: number, options: SceneOptions, side: number): Example[] {
  const examples = new Map<string, Example>();
  for (let index = from; examples.size < count; index++) {
    const example = exampleAt(seed, index, options, side);
    if (!examples.has(example.caption)) examples.set(example.caption, example);
  }
  return [...examples.values()];
}

/** Pictures of one size as CLIP sees them. -> [images, side, side, 3] */
export const clipPixels = (pictures: readonly RgbImage[]): tf.Tensor4D => imageTensor(pictures, clipPreprocessing(pictures[0].width));

/** Pictures of one size as the autoencoder sees them, in [-1, 1]. -> [images, side, side, 3] */
export const diffusionPixels = (pictures: readonly RgbImage[]): tf.Tensor4D => imageTensor(pictures, diffusionPreprocessing(pictures[0].width));

/** Writes a contact sheet as PNG. */
export async function writeSheet(file: string, pictures: readonly RgbImage[], columns: number, labels?: readonly string[]): Promise<void> {
  const png = await encodePng(contactSheet(pictures, { columns, scale: 3, labels }));
  writeAtomically(file, (write) => write(png));
}
