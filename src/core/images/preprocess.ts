import * as tf from '@tensorflow/tfjs';
import { roundHalfEven } from '../rounding.js';
import type { Rgb, RgbImage } from './image.js';
import { resize, type Filter } from './resize.js';

/** What turns a picture into a network's input: resize the short side, crop the centre, scale to [0, 1], subtract `mean`, divide by `std`. */
export interface Preprocessing {
  /** Length of the short side after resizing; absent: no resizing. */
  shortSide?: number;
  filter: Filter;
  crop: { width: number; height: number };
  mean: Rgb;
  std: Rgb;
  /** How an odd margin is halved: `floor` as in transformers, `half-even` as in torchvision (Python's `round`). */
  cropRounding: 'floor' | 'half-even';
}

/** CLIPImageProcessor of transformers 4.35 (bicubic; mean and deviation of CLIP's training pictures). */
export const clipPreprocessing = (size: number): Preprocessing => ({
  shortSide: size,
  filter: 'bicubic',
  crop: { width: size, height: size },
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
  cropRounding: 'floor',
});

const resampleCodes: Record<number, Filter> = { 0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic', 4: 'box' };

/** Reads the `preprocessor_config.json` of a CLIP checkpoint, of old (numbers as sizes) or new form. Refuses by name what would change the result. */
export function readPreprocessing(json: Readonly<Record<string, any>>): Preprocessing {
  const refuse = (key: string, expected: string): never => {
    throw new Error(`preprocessor_config.json: ${key} is ${JSON.stringify(json[key])}. Expected ${expected}.`);
  };
  for (const key of ['do_center_crop', 'do_normalize', 'do_rescale', 'do_convert_rgb']) if (json[key] === false) refuse(key, 'true');
  if (Math.abs((json.rescale_factor ?? 1 / 255) * 255 - 1) > 1e-12) refuse('rescale_factor', '1 / 255');
  const rgb = (key: string): Rgb => (Array.isArray(json[key]) && json[key].length === 3 ? (json[key] as unknown as Rgb) : refuse(key, 'three numbers'));
  const edge = (value: unknown): number => (Number.isInteger(value) ? (value as number) : refuse('size', 'a number, or shortest_edge'));
  const { crop_size: crop } = json;
  return {
    ...(json.do_resize === false ? {} : { shortSide: edge(json.size?.shortest_edge ?? json.size) }),
    filter: resampleCodes[json.resample ?? 3] ?? refuse('resample', `one of ${Object.keys(resampleCodes).join(', ')}`),
    crop: typeof crop === 'number' ? { width: crop, height: crop } : crop?.width && crop?.height ? { width: crop.width, height: crop.height } : refuse('crop_size', 'a number, or width and height'),
    mean: rgb('image_mean'),
    std: rgb('image_std'),
    cropRounding: 'floor',
  };
}

/** Input of the autoencoder, in [-1, 1] (torchvision: Resize bilinear, CenterCrop, ToTensor, Normalize 0.5). */
export const diffusionPreprocessing = (size: number): Preprocessing => ({
  shortSide: size,
  filter: 'bilinear',
  crop: { width: size, height: size },
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
  cropRounding: 'half-even',
});

/** Resizes the short side to `size`; the long side is rounded down, in the order of operations of both reference libraries. */
export function resizeShortSide(image: RgbImage, size: number, filter: Filter): RgbImage {
  const { width, height } = image;
  const long = Math.trunc((size * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? resize(image, size, long, filter) : resize(image, long, size, filter);
}

/** The centre `width`×`height` of a picture. Where the picture is smaller it is surrounded by black, placed as the library named by `rounding` places it. */
export function centerCrop(image: RgbImage, width: number, height: number, rounding: Preprocessing['cropRounding']): RgbImage {
  const offset = rounding === 'floor' ? transformersOffset : torchvisionOffset;
  return crop(image, offset(image.width, width), offset(image.height, height), width, height);
}

/** Reads a rectangle that may reach beyond the picture, where it is black. */
export function crop(image: RgbImage, left: number, top: number, width: number, height: number): RgbImage {
  const data = new Uint8Array(width * height * 3);
  const firstX = Math.max(0, -left);
  const lastX = Math.min(width, image.width - left);
  for (let y = Math.max(0, -top); y < Math.min(height, image.height - top); y++) {
    const from = ((y + top) * image.width + left) * 3;
    if (lastX > firstX) data.set(image.data.subarray(from + firstX * 3, from + lastX * 3), (y * width + firstX) * 3);
  }
  return { width, height, data };
}

/** Where the crop starts; negative when the picture must be padded (transformers pads the extra pixel before, then crops from the padded picture). */
function transformersOffset(size: number, cropSize: number): number {
  const start = Math.floor((size - cropSize) / 2);
  if (start >= 0) return start;
  // Padded on the left by ceil((crop - size) / 2), then cropped from max(0, start + that) = 0.
  return -Math.ceil((cropSize - size) / 2);
}

/** torchvision pads the left by floor((crop - size) / 2). */
function torchvisionOffset(size: number, cropSize: number): number {
  return size >= cropSize ? roundHalfEven((size - cropSize) / 2) : -Math.floor((cropSize - size) / 2);
}

/** Mirrors left and right. */
export function flipHorizontally({ width, height, data }: RgbImage): RgbImage {
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * 3;
      out.set(data.subarray(from, from + 3), (y * width + width - 1 - x) * 3);
    }
  }
  return { width, height, data: out };
}

/** Values (byte / 255 - mean) / std of one picture [height, width, 3]. */
export function preprocess(image: RgbImage, preprocessing: Preprocessing): Float32Array {
  const seen = cropped(image, preprocessing);
  const values = new Float32Array(seen.data.length);
  normalizeInto(values, seen, channelTables(preprocessing));
  return values;
}

/** The part of a picture that a model sees, resized. */
function cropped(image: RgbImage, { shortSide, filter, crop: { width, height }, cropRounding }: Preprocessing): RgbImage {
  const resized = shortSide === undefined ? image : resizeShortSide(image, shortSide, filter);
  return resized.width === width && resized.height === height ? resized : centerCrop(resized, width, height, cropRounding);
}

/** The value of each byte, by channel. */
const channelTables = ({ mean, std }: Preprocessing) => [0, 1, 2].map((c) => Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - mean[c]) / std[c]));

function normalizeInto(values: Float32Array, { data }: RgbImage, [red, green, blue]: readonly Float32Array[]): void {
  for (let i = 0; i < data.length; i += 3) {
    values[i] = red[data[i]];
    values[i + 1] = green[data[i + 1]];
    values[i + 2] = blue[data[i + 2]];
  }
}

/** A batch [images, height, width, 3] of preprocessed pictures. */
export function imageTensor(images: readonly RgbImage[], preprocessing: Preprocessing): tf.Tensor4D {
  const { width, height } = preprocessing.crop;
  const size = width * height * 3;
  const values = new Float32Array(images.length * size);
  const tables = channelTables(preprocessing);
  images.forEach((image, i) => normalizeInto(values.subarray(i * size, (i + 1) * size), cropped(image, preprocessing), tables));
  return tf.tensor4d(values, [images.length, height, width, 3]);
}

/** Pictures of a batch [images, height, width, 3] in [-1, 1]: clamp(x / 2 + 0.5, 0, 1) · 255, rounded half to even (VaeImageProcessor of diffusers). */
export async function toImages(batch: tf.Tensor4D): Promise<RgbImage[]> {
  const [images, height, width, channels] = batch.shape;
  if (channels !== 3) throw new Error(`toImages: expected [images, height, width, 3], found [${batch.shape.join(', ')}].`);
  const values = await batch.data();
  const size = width * height * 3;
  return Array.from({ length: images }, (_, i) => ({ width, height, data: bytes(values.subarray(i * size, (i + 1) * size) as Float32Array) }));
}

function bytes(values: Float32Array): Uint8Array {
  return Uint8Array.from(values, (x) => {
    if (Number.isNaN(x)) throw new Error('toImages: found NaN in the picture. The decoder or the sampler diverged.');
    return roundHalfEven(Math.fround(Math.min(1, Math.max(0, x / 2 + 0.5)) * 255));
  });
}
