import * as tf from '@tensorflow/tfjs';
import {
  centerCrop, clipPreprocessing, diffusionPreprocessing, preprocess, readPreprocessing, resize, resizeShortSide, toImages, type Filter, type Preprocessing, type RgbImage,
} from '../../core/images.js';
import type { Fixture } from './fixture.js';
import type { Kind } from './kinds.js';
import type { Found } from './report.js';

/** CLIPImageProcessor of transformers, the transforms of torchvision, Pillow's resizing, VaeImageProcessor of diffusers. */
export const imageProcessingKind: Kind = {
  name: 'image processing',
  matches: (fixture) => fixture.has('preprocessor_config.json') && fixture.outputs.has('postprocess.uint8'),
  async run(fixture, report) {
    for (const [name, { shape }] of fixture.outputs) {
      const [task, first, ...rest] = name.split('.');
      const found = computed(fixture, task, first, rest, shape);
      if (found) await report.compare(name, found);
    }
    const batch = fixture.input('vae_image').transpose<tf.Tensor4D>([0, 2, 3, 1]);
    await report.compare('postprocess.np', tf.clipByValue(batch.div(2).add(0.5), 0, 1));
    await report.compare('postprocess.uint8', bytes((await toImages(batch))[0]));
  },
};

function computed(fixture: Fixture, task: string, name: string, rest: string[], shape: readonly number[]): Found | undefined {
  const clip = readPreprocessing(fixture.json('preprocessor_config.json') as Record<string, unknown>);
  const result = (image: RgbImage, preprocessing: Preprocessing): Found => {
    if (rest[0] === 'pixel_values') return channelsFirst(preprocess(image, preprocessing), preprocessing.crop);
    const resized = resizeShortSide(image, preprocessing.shortSide!, preprocessing.filter);
    const { crop, cropRounding } = preprocessing;
    return bytes(rest[0] === 'resized_uint8' ? resized : centerCrop(resized, crop.width, crop.height, cropRounding));
  };
  switch (task) {
    case 'clip':
      return result(picture(fixture, name), name.startsWith('full') ? clipPreprocessing(shape[1]) : clip);
    case 'clip_crop_pads': {
      const [, height, width] = shape;
      return result(picture(fixture, name), { ...clip, shortSide: undefined, crop: { width, height } });
    }
    case 'diffusion':
      return result(picture(fixture, name), diffusionPreprocessing(clip.crop.width));
    case 'pil': {
      const [height, width] = shape;
      return bytes(resize(picture(fixture, rest[0]), width, height, name.toLowerCase() as Filter));
    }
  }
  return undefined;
}

/** A stored picture [height, width, 3], or grey [height, width] copied to three channels. */
function picture(fixture: Fixture, name: string): RgbImage {
  const stored = fixture.inputs.get(`image.${name}`);
  if (!stored) throw new Error(`${fixture.path('inputs.safetensors')} has no "image.${name}".`);
  const { shape, values } = stored;
  const [height, width] = shape;
  const data = Uint8Array.from({ length: height * width * 3 }, (_, i) => Number(values[shape.length === 3 ? i : Math.floor(i / 3)]));
  return { width, height, data };
}

const bytes = ({ height, width, data }: RgbImage): Found => ({ shape: [height, width, 3], values: data });

function channelsFirst(values: Float32Array, { width, height }: { width: number; height: number }): Found {
  const positions = width * height;
  return { shape: [3, height, width], values: Float32Array.from(values, (_, i) => values[(i % positions) * 3 + Math.floor(i / positions)]) };
}
