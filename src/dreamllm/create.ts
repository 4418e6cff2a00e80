import * as tf from '@tensorflow/tfjs';
import { toImages, type RgbImage } from '../core/images.js';
import { decodeLatents, observe, sample, scheduler, seededDraws, unet, type Observer, type Scheduler, type Step } from '../models/diffusion/index.js';
import { KvCache } from '../models/llama/index.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { latentSize, type DreamConfig } from './config.js';
import { projectCondition, type DreamModel } from './model.js';
import { embedPrompts, promptSequence, type Prompt } from './prompt.js';
import { gatherBlocks } from './splice.js';

/** States at the dream queries behind each prompt, in one causal pass: padding is on the right, so it is seen by none. [prompts, queries, dim] */
export async function queryStates(model: DreamModel, tokenizer: Tokenizer, prompts: readonly Prompt[]): Promise<tf.Tensor3D> {
  const { config, language } = model;
  const { embeds, collated } = embedPrompts(model, prompts.map((prompt) => promptSequence(prompt, tokenizer, config, { dreams: true })));
  try {
    const states = await language.forward(embeds, {});
    const result = tf.tidy(() => gatherBlocks(states, collated.dreamStarts, config.numDreamQueries));
    states.dispose();
    return result;
  } finally {
    embeds.dispose(); // also when a streamed model was interrupted
  }
}

/**
 * Goes through a dream block behind what a cache has seen: `<dream_start>` queries `<dream_end>`. Gives the states at the queries,
 * [batch, queries, dim], and the state at `<dream_end>`, [batch, dim]. `mask` [batch, keys] covers the cache and the block; needed only for padded prompts.
 */
export async function dreamOn(
  { config, plugins, language }: DreamModel, cache: KvCache, batch: number, mask?: tf.Tensor2D,
): Promise<{ queries: tf.Tensor3D; last: tf.Tensor2D }> {
  const { tokens, numDreamQueries } = config;
  const embeds = tf.tidy(() => {
    const marks = language.embed(tf.tensor2d([[tokens.dreamStart, tokens.dreamEnd]], [1, 2], 'int32'));
    const [start, end] = tf.split(marks, 2, 1) as tf.Tensor3D[];
    return tf.tile(tf.concat([start, plugins.model.dream_embedding.dream_queries, end], 1), [batch, 1, 1]);
  });
  try {
    const states = await language.forward(embeds, { cache, mask });
    const queries = states.slice([0, 1, 0], [-1, numDreamQueries, -1]);
    const last = tf.tidy(() => states.slice([0, numDreamQueries + 1, 0], [-1, 1, -1]).reshape<tf.Tensor2D>([batch, -1]));
    states.dispose();
    return { queries, last };
  } finally {
    embeds.dispose();
  }
}

/**
 * States at the dream queries as the released pipeline has them for a batch: padded prompts first (`mask` 0 at padding), then the dream block on their cache, with positions
 * counting on through the padding. So a shorter prompt's states depend on how long the others are; `queryStates` has no such dependence.
 */
export async function releasedQueryStates(model: DreamModel, ids: readonly (readonly number[])[], mask: readonly (readonly number[])[]): Promise<tf.Tensor3D> {
  const { language, config } = model;
  const cache = new KvCache();
  const [visible, all] = tf.tidy(() => {
    const prompt = tf.tensor2d(mask as number[][], undefined, 'int32');
    return [prompt, tf.concat([prompt, tf.ones<tf.Rank.R2>([ids.length, config.numDreamQueries + 2], 'int32')], 1)];
  });
  const embeds = tf.tidy(() => language.embed(tf.tensor2d(ids as number[][], undefined, 'int32')));
  try {
    (await language.forward(embeds, { cache, mask: visible })).dispose();
    const { queries, last } = await dreamOn(model, cache, ids.length, all);
    last.dispose();
    return queries;
  } finally {
    cache.dispose();
    tf.dispose([embeds, visible, all]);
  }
}

export const samplerNames = ['ddpm', 'ddim', 'pndm', 'euler', 'dpm-solver'] as const;
export type SamplerName = (typeof samplerNames)[number];

/** A sampler on the model's own noise schedule. `ddpm` is the paper's; the settings of the others are those that Stable Diffusion 2.1 is used with. */
export function namedSampler({ sampler }: DreamConfig, name: SamplerName, steps: number): Scheduler {
  const { varianceType: _, limit, ...common } = sampler;
  switch (name) {
    case 'ddpm': return scheduler(sampler, steps);
    case 'ddim': return scheduler({ ...common, kind: 'ddim', eta: 0, limit, setAlphaToOne: false }, steps);
    case 'pndm': return scheduler({ ...common, kind: 'pndm', skipPrkSteps: true, setAlphaToOne: false }, steps);
    case 'euler': return scheduler({ ...common, kind: 'euler', useKarrasSigmas: false }, steps);
    case 'dpm-solver':
      return scheduler(
        { ...common, kind: 'dpm-solver', limit, useKarrasSigmas: false, solverOrder: 2, algorithm: 'dpmsolver++', solverType: 'midpoint', lowerOrderFinal: true, eulerAtFinal: false },
        steps,
      );
  }
}

/** How pictures are drawn. The paper draws with guidance 7.5 by default and 2.0 for its FID. */
export interface DrawOptions {
  /** Default 50. */
  steps?: number;
  /** Default 7.5. At 1 or less there is no guidance and one U-Net pass a step. */
  guidanceScale?: number;
  /** Share of the way to the conditional prediction's deviation (Lin et al. 2024). Default 0. */
  guidanceRescale?: number;
  /** What guidance leads away from. Default: the empty prompt. */
  negative?: Prompt;
  /** Default: the model's own sampler, DDPM. */
  sampler?: Scheduler;
  signal?: AbortSignal;
  onStep?: (step: Step) => void | Promise<void>;
  /** Looks inside the U-Net in every step. */
  observer?: Observer;
}

/**
 * Runs the diffusion head on states at dream queries. Rows are named by `seeds`, so that a picture does not depend on what it is drawn together with.
 * states [images, queries, dim], negative [1 or images, queries, dim] -> pictures [images, size, size, 3], about [-1, 1].
 */
export async function drawFrom(
  { config, plugins }: DreamModel, states: tf.Tensor3D, negative: tf.Tensor3D | undefined, seeds: readonly number[], options: DrawOptions = {},
): Promise<tf.Tensor4D> {
  const { steps = 50, guidanceScale = 7.5, guidanceRescale = 0, sampler = scheduler(config.sampler, steps), signal, onStep, observer } = options;
  if (states.shape[0] !== seeds.length) throw new Error(`Expected a seed for each of ${states.shape[0]} pictures, found ${seeds.length}.`);
  const condition = tf.tidy(() => projectCondition(plugins, states));
  const unconditional = negative && tf.tidy(() => projectCondition(plugins, negative));
  const side = latentSize(config);
  const draws = seededDraws(seeds, [side, side, config.vae.latentChannels]);
  const { unet: network, vae } = plugins.stable_diffusion_head;
  try {
    const latents = await sample({
      predict: (x, t, c) => {
        const run = () => unet(network, x, Array<number>(x.shape[0]).fill(t), c, config.unet);
        return observer ? observe(network, observer, run) : run();
      },
      scheduler: sampler, condition, unconditional, guidanceScale, guidanceRescale, ...draws, signal, onStep,
    });
    const pictures = decodeLatents(vae, latents, config.vae);
    latents.dispose();
    return pictures;
  } finally {
    tf.dispose([condition, draws.noise, ...(unconditional ? [unconditional] : [])]);
  }
}

/** Draws a picture for each prompt (text, or text and pictures). `seeds`: one for each. */
export async function draw(model: DreamModel, tokenizer: Tokenizer, prompts: readonly Prompt[], seeds: readonly number[], options: DrawOptions = {}): Promise<RgbImage[]> {
  const isGuided = (options.guidanceScale ?? 7.5) > 1;
  const states = await queryStates(model, tokenizer, prompts);
  const negative = isGuided ? await queryStates(model, tokenizer, [options.negative ?? '']) : undefined;
  try {
    const pictures = await drawFrom(model, states, negative, seeds, options);
    const images = await toImages(pictures);
    pictures.dispose();
    return images;
  } finally {
    tf.dispose([states, ...(negative ? [negative] : [])]);
  }
}
