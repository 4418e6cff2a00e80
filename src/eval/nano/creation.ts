import * as tf from '@tensorflow/tfjs';
import { diffusionPreprocessing, imageTensor, toImages, type RgbImage } from '../../core/images.js';
import { random, deriveSeed } from '../../core/random.js';
import { caption } from '../../data/captions.js';
import { concepts } from '../../data/emoji.js';
import { renderScene, sceneAt, type Scene } from '../../data/scenes.js';
import { drawFrom, queryStates } from '../../dreamllm/create.js';
import type { Prompt } from '../../dreamllm/prompt.js';
import { projectCondition } from '../../dreamllm/model.js';
import {
  addNoise, drawLatents, encode, noiseSchedule, predictionTarget, scheduler, seededNoise, unet, type DdimConfig, type ScheduleConfig, type Scheduler,
} from '../../models/diffusion/index.js';
import type { Extractor as Network } from '../../models/inception/index.js';
import { pictureFeatures } from '../extractors.js';
import type { Features } from '../features.js';
import { measureFid, measureKid, type FidDetails } from '../measure.js';
import { measurement, type Measurement, type Protocol } from '../protocol.js';
import { mean, pairedTest, wilson, type PairedTest } from '../statistics.js';
import { defaultTestSet, type TestSet } from './comprehension.js';
import { embedPictures, embedTexts, type ClipJudge } from './clip.js';
import type { Subject } from './subject.js';

/** DDIM without noise, on a model's own schedule: few steps, and a picture that depends on its seed and condition alone. */
export const evaluationScheduler = (config: ScheduleConfig, steps: number): Scheduler => scheduler(evaluationSampler(config), steps);

const evaluationSampler = ({ numTrainTimesteps, betaSchedule, betaStart, betaEnd, trainedBetas, predictionType, rescaleBetasZeroSnr }: ScheduleConfig): DdimConfig => ({
  kind: 'ddim', numTrainTimesteps, betaSchedule, betaStart, betaEnd, trainedBetas, predictionType, rescaleBetasZeroSnr,
  timestepSpacing: 'leading', stepsOffset: 1, eta: 0, setAlphaToOne: false, limit: { kind: 'none' },
});

/** What pictures are drawn with to be measured, as the paper has it for its FID. */
export const evaluationGuidance = 2;

export interface CreationOptions {
  readonly count?: number;
  readonly steps?: number;
  readonly guidanceScale?: number;
  readonly testSet?: TestSet;
  readonly batchSize?: number;
  /** Number of the attempt: each draws the same prompts from other noise. */
  readonly attempt?: number;
  /** Whether to draw the empty prompt too, from the same noise, or what it gave, which depends on no guidance scale. Default: yes. */
  readonly unprompted?: boolean | readonly RgbImage[];
  readonly signal?: AbortSignal;
}

/** Pictures drawn for held-out prompts, the same noise with an empty prompt, and the true pictures. */
export interface Drawings {
  readonly scenes: readonly Scene[];
  readonly prompts: readonly string[];
  readonly drawn: readonly RgbImage[];
  /** From the same seeds, conditioned on the empty prompt; empty where that was not asked for. */
  readonly unprompted: readonly RgbImage[];
  readonly real: readonly RgbImage[];
  readonly protocol: Protocol;
}

/** Single objects of the test set, from number `first` on; their full captions say all but the exact place. */
export function testScenes({ split, axis, seed }: TestSet, count: number, first = 0): Scene[] {
  return Array.from({ length: count }, (_, i) => sceneAt(seed, first + i, { split, axis, kinds: { single: 1 } }));
}

/** Draws every prompt of the test set once, and the empty prompt as often, from one seed each. */
export async function drawTestSet(subject: Subject, options: CreationOptions = {}): Promise<Drawings> {
  const { count = 128, testSet = defaultTestSet } = options;
  const scenes = testScenes(testSet, count);
  return drawScenes(subject, scenes.map((scene) => ({ scene, prompt: caption(scene, 'full') })), { ...options, about: { dataset: 'emoji world, single objects', captionPolicy: 'full caption' } });
}

/** A picture that is wanted, and what is said (and shown) to get it. */
export interface Wanted {
  readonly scene: Scene;
  readonly prompt: string;
  /** What the model reads where that is more than the prompt's text. */
  readonly asked?: Prompt;
}

/** Draws each wanted picture from a seed of its number. `about` goes into the protocol. */
export async function drawScenes({ model, tokenizer, modelScale }: Subject, wanted: readonly Wanted[], options: Omit<CreationOptions, 'count'> & { about: Protocol }): Promise<Drawings> {
  const { steps = 20, guidanceScale = evaluationGuidance, testSet = defaultTestSet, batchSize = 32, attempt = 0, unprompted: known = true, about, signal } = options;
  const { config } = model;
  const count = wanted.length;
  const scenes = wanted.map(({ scene }) => scene);
  const prompts = wanted.map(({ prompt }) => prompt);
  const sampler = evaluationScheduler(config.sampler, steps);
  const negative = await queryStates(model, tokenizer, ['']);
  const drawn: RgbImage[] = [];
  const unprompted: RgbImage[] = typeof known === 'boolean' ? [] : [...known];
  try {
    for (let start = 0; start < count; start += batchSize) {
      const rows = wanted.slice(start, start + batchSize).map(({ prompt, asked = prompt }) => asked);
      const seeds = rows.map((_, i) => deriveSeed(testSet.seed, 'drawing', start + i, ...(attempt > 0 ? [attempt] : [])));
      const states = await queryStates(model, tokenizer, rows);
      const empty = tf.tidy(() => tf.tile(negative, [rows.length, 1, 1]));
      try {
        drawn.push(...(await toPictures(drawFrom(model, states, negative, seeds, { sampler, guidanceScale, signal }))));
        // The empty prompt against itself: guidance would cancel, so one pass a step.
        if (known === true) unprompted.push(...(await toPictures(drawFrom(model, empty, undefined, seeds, { sampler, guidanceScale: 1, signal }))));
      } finally {
        tf.dispose([states, empty]);
      }
    }
  } finally {
    negative.dispose();
  }
  const side = config.imageSize;
  return {
    scenes, prompts, drawn, unprompted, real: scenes.map((scene) => ({ width: side, height: side, data: renderScene(scene, side) })),
    protocol: {
      ...about, split: `${testSet.split}, new ${testSet.axis}`, testSeed: testSet.seed, resolution: side,
      sampler: 'DDIM, eta 0', steps, guidanceScale, selection: 'single', seedPolicy: 'one a prompt, named by its number', modelScale,
    },
  };
}

async function toPictures(pending: Promise<tf.Tensor4D>): Promise<RgbImage[]> {
  const batch = await pending;
  const images = await toImages(batch);
  batch.dispose();
  return images;
}

/** Features of true pictures: of those behind the prompts, and of others of the same kind, so that no picture is compared with its own answer alone. */
export interface RealFeatures {
  readonly prompted: Features;
  readonly reference: Features;
}

export interface RealOptions {
  /** How many other true pictures. */
  readonly referenceCount?: number;
  readonly testSet?: TestSet;
  readonly signal?: AbortSignal;
}

/** What distances of drawings compare with; the same for all drawings of the same prompts. */
export async function realFeatures({ real }: Pick<Drawings, 'real'>, network: Network, { referenceCount = 384, testSet = defaultTestSet, signal }: RealOptions = {}): Promise<RealFeatures> {
  const side = real[0].width;
  // Scenes behind the prompted ones: the same list, later numbers.
  const others = testScenes(testSet, referenceCount, real.length).map((scene) => ({ width: side, height: side, data: renderScene(scene, side) }));
  return { reference: await pictureFeatures(others, network, 'real pictures', signal), prompted: await pictureFeatures(real, network, 'true pictures', signal) };
}

export interface Distances {
  readonly fid: Measurement<FidDetails>;
  readonly kid: ReturnType<typeof measureKid>;
  /** KID of as many other true pictures: what a perfect model would get. */
  readonly kidOfReal: ReturnType<typeof measureKid>;
}

/** Fréchet and kernel distance of drawn to real pictures. The network has nothing to do with the model's training. */
export async function measureDistances({ drawn, protocol }: Drawings, { reference, prompted }: RealFeatures, network: Network, signal?: AbortSignal): Promise<Distances> {
  const made = await pictureFeatures(drawn, network, 'drawn pictures', signal);
  return {
    fid: await measureFid(reference, made, { protocol, allowFew: true, infinity: false }),
    kid: measureKid(reference, made, { protocol }),
    kidOfReal: measureKid(reference, prompted, { protocol: { ...protocol, sampler: 'none: real pictures', steps: null, guidanceScale: null, modelScale: null } }),
  };
}

export interface Identification {
  readonly accuracy: number;
  readonly chance: number;
  /** The same for pictures drawn from the empty prompt, where there are any: what layout and luck give. */
  readonly unprompted?: number;
  readonly choices: number;
}

/**
 * Which of ten objects does a drawn picture show? The one whose rendering in the prompted style, size and ground lies nearest in pixels, over shifts of
 * up to two pixels. Nine are drawn at random from the concepts that exist in this style.
 */
export function measureIdentification(drawings: Drawings, { choices = 10, seed = 0 } = {}): Measurement<Identification> {
  const known = concepts().filter(({ isCore, split }) => isCore && split === 'train');
  return measureNearest('identification', drawings, (scene, i) => {
    const [object] = scene.objects;
    const stream = random(seed, 'identification', i);
    const others = stream.shuffle(known.filter(({ name, icons }) => name !== object.concept && icons[object.style])).slice(0, choices - 1);
    return others.map(({ name }) => ({ ...scene, objects: [{ ...object, concept: name }] }));
  });
}

/** Share of drawn pictures that lie nearer to the rendering of their own scene than to those of others, as many for each. */
export function measureNearest(metric: string, { scenes, drawn, unprompted, protocol }: Drawings, othersOf: (scene: Scene, index: number) => readonly Scene[]): Measurement<Identification> {
  let choices = 0;
  const hits = scenes.map((scene, i) => {
    const side = drawn[i].width;
    const candidates = [scene, ...othersOf(scene, i)].map((each) => renderScene(each, side));
    choices = candidates.length;
    const isFirst = ({ data }: RgbImage) => {
      const distances = candidates.map((candidate) => shiftedDistance(data, candidate, side));
      return distances[0] < Math.min(...distances.slice(1));
    };
    return { prompted: isFirst(drawn[i]), unprompted: unprompted.length > 0 && isFirst(unprompted[i]) };
  });
  const count = (which: 'prompted' | 'unprompted') => hits.filter((hit) => hit[which]).length;
  const n = scenes.length;
  return measurement({
    metric, value: count('prompted') / n, n, ci: wilson(count('prompted'), n, 0.95, 'pictures'),
    protocol: { ...protocol, size: n, matcher: `nearest of ${choices} renderings, squared pixel difference, shifts up to 2` },
    details: { accuracy: count('prompted') / n, chance: 1 / choices, ...(unprompted.length > 0 ? { unprompted: count('unprompted') / n } : {}), choices },
  });
}

/** Smallest mean squared difference of two RGB pictures over shifts of the second by up to `reach` pixels, on the overlap. */
function shiftedDistance(a: Uint8Array, b: Uint8Array, side: number, reach = 2): number {
  let best = Infinity;
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      let total = 0;
      for (let y = Math.max(0, dy); y < Math.min(side, side + dy); y++) {
        const from = Math.max(0, dx);
        const to = Math.min(side, side + dx);
        for (let p = (y * side + from) * 3, q = ((y - dy) * side + from - dx) * 3, end = (y * side + to) * 3; p < end; p++, q++) total += (a[p] - b[q]) ** 2;
      }
      best = Math.min(best, total / ((side - Math.abs(dx)) * (side - Math.abs(dy)) * 3));
    }
  }
  return best;
}

type Paired = PairedTest & { readonly prompted: number; readonly unprompted: number };

/** CLIP score with the prompt, less that of the empty prompt's picture from the same noise, pair by pair. */
export async function measurePromptScore({ prompts, drawn, unprompted, real, protocol }: Drawings, clip: ClipJudge): Promise<Measurement<Paired & { real: number }>> {
  const texts = await embedTexts(clip, prompts);
  const cosines = async (images: readonly RgbImage[]) => {
    const rows = await embedPictures(clip, images);
    return prompts.map((_, i) => {
      let product = 0;
      for (let c = i * clip.config.projectionSize; c < (i + 1) * clip.config.projectionSize; c++) product += rows[c] * texts[c];
      return 100 * product;
    });
  };
  const [with_, without, true_] = [await cosines(drawn), await cosines(unprompted), await cosines(real)];
  const test = pairedTest(without, with_, 'prompts');
  return measurement({
    metric: 'clip-score', value: mean(with_), n: prompts.length,
    protocol: { ...protocol, size: prompts.length, extractor: clip.name, formula: '100 cosine' },
    details: { ...test, prompted: mean(with_), unprompted: mean(without), real: mean(true_) },
  });
}

/**
 * Diffusion loss on held-out pictures at fixed noise and time steps, with the prompt as condition and with the empty prompt, pair by pair: whether the
 * condition that the language model gives helps the U-Net at all. The value is the loss with the prompt.
 */
export async function measurePromptLoss(subject: Subject, options: CreationOptions = {}): Promise<Measurement<Paired>> {
  const { model, tokenizer } = subject;
  const empty = await queryStates(model, tokenizer, ['']);
  try {
    const { losses, protocol } = await lossesUnder(subject, options, (condition) => [
      ['prompted', () => condition],
      ['unprompted', () => tf.tile(projectCondition(model.plugins, empty), [condition.shape[0], 1, 1])],
    ]);
    const [prompted, unprompted] = [losses.get('prompted')!, losses.get('unprompted')!];
    return measurement({
      metric: 'diffusion-loss', value: mean(prompted), n: prompted.length, protocol,
      details: { ...pairedTest(unprompted, prompted, 'pictures'), prompted: mean(prompted), unprompted: mean(unprompted) },
    });
  } finally {
    empty.dispose();
  }
}

/**
 * Diffusion losses of held-out pictures at fixed noise, means over four time steps, under conditions made from those of their prompts: for each name that
 * `change` gives, one number a picture. A change gets the projected conditions [images, queries, dim] and gives as many of them.
 */
export async function lossesUnder(
  { model, tokenizer, modelScale }: Subject,
  { count = 64, testSet = defaultTestSet, batchSize = 32, signal }: CreationOptions,
  change: (condition: tf.Tensor3D) => (readonly [name: string, make: () => tf.Tensor3D])[],
): Promise<{ losses: Map<string, number[]>; protocol: Protocol }> {
  const { config, plugins } = model;
  const { unet: network, vae } = plugins.stable_diffusion_head;
  const schedule = noiseSchedule(config.sampler);
  const levels = [0.15, 0.4, 0.65, 0.9].map((share) => Math.floor(share * config.sampler.numTrainTimesteps));
  const scenes = testScenes(testSet, count);
  const losses = new Map<string, number[]>();
  for (let start = 0; start < count; start += batchSize) {
    const rows = scenes.slice(start, start + batchSize);
    const states = await queryStates(model, tokenizer, rows.map((scene) => caption(scene, 'full')));
    const condition = tf.tidy(() => projectCondition(plugins, states));
    const latents = tf.tidy(() => {
      const pixels = imageTensor(rows.map((scene) => ({ width: config.imageSize, height: config.imageSize, data: renderScene(scene, config.imageSize) })), diffusionPreprocessing(config.imageSize));
      return drawLatents(encode(vae, pixels, config.vae), config.vae);
    });
    for (const [name, make] of change(condition)) {
      if (!losses.has(name)) losses.set(name, new Array<number>(count).fill(0));
      for (const level of levels) {
        signal?.throwIfAborted();
        const perPicture = tf.tidy(() => {
          const [, height, width, channels] = latents.shape;
          const noise = seededNoise(rows.map((_, i) => deriveSeed(testSet.seed, 'prompt loss', start + i)), [height, width, channels], level);
          const times = rows.map(() => level);
          const prediction = unet(network, addNoise(schedule, latents, noise, times), times, make(), config.unet);
          return prediction.sub(predictionTarget(schedule, latents, noise, times)).square().mean([1, 2, 3]);
        });
        (await perPicture.data()).forEach((value, i) => (losses.get(name)![start + i] += value / levels.length));
        perPicture.dispose();
      }
    }
    tf.dispose([states, condition, latents]);
  }
  return {
    losses,
    protocol: {
      dataset: 'emoji world, single objects', split: `${testSet.split}, new ${testSet.axis}`, testSeed: testSet.seed, size: count, captionPolicy: 'full caption', modelScale,
      timesteps: levels.join(', '), seedPolicy: 'noise named by picture and time step',
    },
  };
}
