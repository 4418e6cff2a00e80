import * as tf from '@tensorflow/tfjs';
import { toImages, type RgbImage } from '../core/images.js';
import { deriveSeed } from '../core/random.js';
import { caption } from '../data/captions.js';
import { renderScene, type Scene } from '../data/scenes.js';
import { nano, nanoClipText } from '../dreamllm/presets.js';
import type { ClipJudge } from '../eval/nano/clip.js';
import { defaultTestSet } from '../eval/nano/comprehension.js';
import { evaluationScheduler, testScenes, type Drawings } from '../eval/nano/creation.js';
import { decodeLatents, sample, seededNoise, unet, type UNetParams, type VaeParams } from '../models/diffusion/index.js';
import { textConditions } from '../train/regression-targets.js';

export interface TextDrawingOptions {
  count: number;
  /** What is wanted in place of the test set's single objects. */
  scenes?: readonly Scene[];
  /** Texts that are drawn in place of the prompts, one each. */
  texts?: readonly string[];
  /** Text positions that the U-Net gets. Default: all that CLIP has. */
  positions?: number;
  steps?: number;
  guidanceScale?: number;
  /** Number of the first prompt. */
  first?: number;
  /** Whether to draw the empty prompt too, from the same noise. */
  unprompted?: boolean;
  signal?: AbortSignal;
}

/**
 * Pictures of the foundation's text-conditioned U-Net, which stands for Stable Diffusion, for the prompts that DreamLLM is asked to draw. Its guidance is
 * Stable Diffusion's: away from the empty text, for which it was trained.
 */
export async function drawFromText(
  { unet: params, vae, judge }: { unet: UNetParams; vae: VaeParams; judge: ClipJudge },
  { count, scenes: wanted, texts, positions = nanoClipText.maxPositions, steps = 20, guidanceScale = 3, first = 0, unprompted: withUnprompted = true, signal }: TextDrawingOptions,
): Promise<Drawings> {
  const { split, axis, seed } = defaultTestSet;
  const side = nano.imageSize;
  const scenes = wanted ?? testScenes(defaultTestSet, count, first);
  const prompts = scenes.map((scene) => caption(scene, 'full'));
  const drawn: RgbImage[] = [];
  const unprompted: RgbImage[] = [];
  const batchSize = 32;
  for (let start = 0; start < count; start += batchSize) {
    const rows = (texts ?? prompts).slice(start, start + batchSize);
    const seeds = rows.map((_, i) => deriveSeed(seed, 'drawing', first + start + i));
    drawn.push(...(await paint(rows, seeds, guidanceScale)));
    if (withUnprompted) unprompted.push(...(await paint(rows.map(() => ''), seeds, 1)));
  }
  return {
    scenes, prompts, drawn, unprompted,
    real: scenes.map((scene) => ({ width: side, height: side, data: renderScene(scene, side) })),
    protocol: {
      dataset: 'emoji world, single objects', split: `${split}, new ${axis}`, testSeed: seed, captionPolicy: 'full caption', resolution: side,
      sampler: 'DDIM, eta 0', steps, guidanceScale, selection: 'single', seedPolicy: 'one a prompt, named by its number', modelScale: 'nano foundation',
    },
  };

  async function paint(texts: readonly string[], seeds: readonly number[], scale: number): Promise<RgbImage[]> {
    const states = (each: readonly string[]) => textConditions(judge.params, each, positions);
    const condition = states(texts);
    const unconditional = scale > 1 ? states(texts.map(() => '')) : undefined;
    const latentSide = side / 2 ** (nano.vae.blockOutChannels.length - 1);
    const noise = seededNoise(seeds, [latentSide, latentSide, nano.vae.latentChannels]);
    const latents = await sample({
      predict: (x, t, c) => unet(params, x, Array<number>(x.shape[0]).fill(t), c, nano.unet),
      scheduler: evaluationScheduler(nano.sampler, steps), condition, unconditional, guidanceScale: scale, noise, signal,
    });
    const pictures = decodeLatents(vae, latents, nano.vae);
    const images = await toImages(pictures);
    tf.dispose([condition, noise, latents, pictures, ...(unconditional ? [unconditional] : [])]);
    return images;
  }
}

