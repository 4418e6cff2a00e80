import * as tf from '@tensorflow/tfjs';
import { crossEntropy, embedding } from '../core/ops/index.js';
import { random, type Path } from '../core/random.js';
import { addNoise, noiseSchedule, predictionTarget, snr, unet, type NoiseSchedule } from '../models/diffusion/index.js';
import { embedTokens, llamaStates, lmHead } from '../models/llama/index.js';
import type { DreamConfig, Objective } from './config.js';
import { forwardStates, type EncodedBatch } from './forward.js';
import { dreamBlock, ignored } from './layout.js';
import { projectCondition, type DreamParams } from './model.js';
import { gatherBlocks, splice } from './splice.js';

/** The random numbers of one diffusion loss. The tensors belong to whoever made them. */
export interface DiffusionDraws {
  /** [images, height, width, channels] */
  noise: tf.Tensor4D;
  /** One training time step an image. */
  timesteps: readonly number[];
  /** 1 where an image's condition is replaced by the unconditional one. */
  drop?: readonly number[];
  /** [images, 1, 1, channels] */
  offset?: tf.Tensor4D;
  /** Like `noise`. */
  perturbation?: tf.Tensor4D;
}

/** The draws named by a seed and a path, such as (42, 'sft', step): the same name, the same numbers. */
export function drawDiffusion(latentShape: readonly number[], config: DreamConfig, objective: Objective, seed: number, ...path: Path): DiffusionDraws {
  const [images, height, width, channels] = latentShape;
  const count = images * height * width * channels;
  const times = random(seed, ...path, 'timesteps');
  const drops = random(seed, ...path, 'drop');
  const normals = (name: string, shape: [number, number, number, number]) =>
    tf.tensor4d(random(seed, ...path, name).normals(shape.reduce((a, b) => a * b, 1)), shape);
  const shape: [number, number, number, number] = [images, height, width, channels];
  if (count === 0) throw new Error(`drawDiffusion: expected latents, found shape [${latentShape.join(', ')}].`);
  return {
    noise: normals('noise', shape),
    timesteps: Array.from({ length: images }, () => times.integer(config.sampler.numTrainTimesteps)),
    ...(objective.dropProbability ? { drop: Array.from({ length: images }, () => (drops.uniform() < objective.dropProbability ? 1 : 0)) } : {}),
    ...(objective.noiseOffset ? { offset: normals('offset', [images, 1, 1, channels]) } : {}),
    ...(objective.inputPerturbation ? { perturbation: normals('perturbation', shape) } : {}),
  };
}

export interface Losses {
  /** (w_lm · lm + w_dm · diffusion) / scale */
  loss: tf.Scalar;
  lm: tf.Scalar;
  diffusion: tf.Scalar;
  /** Only where the objective weighs them. */
  alignment?: tf.Scalar;
  regression?: tf.Scalar;
}

/**
 * The two objectives of a batch and their weighted sum (modeling_dreamllm.py:1400-1489). A batch without language targets, or without pictures to
 * draw, has 0 for that loss. Gradients reach the queries, both projectors and the language model; the frozen U-Net is differentiated through.
 */
export function dreamLoss(p: DreamParams, config: DreamConfig, batch: EncodedBatch, draws: DiffusionDraws | null, objective: Objective): Losses {
  return tf.tidy(() => {
    const { weights, scale } = objective;
    const states = forwardStates(p, config, batch);
    const lm = languageLoss(p, states, batch.labels);
    if (batch.latents && !draws) throw new Error('dreamLoss: the batch has pictures to draw, so it needs draws (drawDiffusion).');
    const terms = batch.latents && draws ? diffusionTerms(p, config, states, batch, draws, objective) : null;
    const diffusion = terms && draws ? denoisingLoss(terms, config, draws, objective) : tf.scalar(0);
    const alignment = weights.alignment ? (terms ? alignmentLoss(terms.condition, batch.alignTargets) : tf.scalar(0)) : undefined;
    // The regression needs no U-Net, so it is there without latents too.
    const condition = () => terms?.condition ?? projectCondition(p, gatherBlocks(states, batch.dreamStarts, config.numDreamQueries));
    const regression = weights.regression ? (batch.dreamStarts.length > 0 ? regressionLoss(condition(), batch.regressionTargets) : tf.scalar(0)) : undefined;

    const each = [weights.lm, weights.diffusion, weights.alignment ?? 0, weights.regression ?? 0];
    const divisor = { none: 1, l1_norm: each.reduce((a, b) => a + b), l2_norm: Math.hypot(...each) }[scale];
    let sum: tf.Scalar = lm.mul(weights.lm).add(diffusion.mul(weights.diffusion));
    if (alignment) sum = sum.add(alignment.mul(weights.alignment!));
    if (regression) sum = sum.add(regression.mul(weights.regression!));
    return { loss: sum.div<tf.Scalar>(divisor), lm, diffusion, ...(alignment ? { alignment } : {}), ...(regression ? { regression } : {}) };
  });
}

/**
 * Mean cross-entropy of the next token over the positions whose next label counts; 0 if there is none. states [batch, tokens, dim], labels
 * [batch · tokens] at their own tokens. Only rows that count pass through the head.
 */
export function languageLoss(p: DreamParams, states: tf.Tensor3D, labels: Int32Array): tf.Scalar {
  const [batch, tokens, dim] = states.shape;
  const rows: number[] = [];
  for (let i = 0; i < batch * tokens; i++) if ((i + 1) % tokens && labels[i + 1] !== ignored) rows.push(i);
  if (rows.length === 0) return tf.scalar(0);
  const learned = embedding(states.reshape([batch * tokens, dim]), tf.tensor1d(rows, 'int32')) as tf.Tensor2D;
  return crossEntropy(lmHead(p, learned), tf.tensor1d(rows.map((i) => labels[i + 1]), 'int32')).mean();
}

/** What the U-Net is asked and should answer. */
export interface DiffusionTerms {
  /** States at the queries, after dropping, [images, queries, dim]; and projected, [images, queries, crossAttentionDim]. */
  states: tf.Tensor3D;
  condition: tf.Tensor3D;
  noisyLatents: tf.Tensor4D;
  target: tf.Tensor4D;
  prediction: tf.Tensor4D;
}

/** The denoising loss (Ho et al. 2020, eq. 14; min-SNR: Hang et al. 2023). */
export function denoisingLoss({ prediction, target }: DiffusionTerms, config: DreamConfig, { timesteps }: DiffusionDraws, { snrGamma }: Objective): tf.Scalar {
  const squared = prediction.sub<tf.Tensor4D>(target).square();
  if (snrGamma === undefined) return squared.mean();
  const schedule = noiseSchedule(config.sampler);
  return squared.mean<tf.Tensor1D>([1, 2, 3]).mul(tf.tensor1d(timesteps.map((t) => minSnrWeight(schedule, t, snrGamma)))).mean();
}

/**
 * Pulls the condition towards CLIP's view of the picture, as earlier models do and DreamLLM does not: the paper's Table 3 has it as an ablation, where
 * training collapses. The paper gives no formula; this is the squared distance of the means over queries and over patches.
 * condition [images, queries, dim], targets [images, dim].
 */
export function alignmentLoss(condition: tf.Tensor3D, targets: tf.Tensor2D | null | undefined): tf.Scalar {
  if (!targets) throw new Error('The objective weighs alignment, but the batch has no targets for it. Make its pixels with { alignment: true }.');
  if (targets.shape[1] !== condition.shape[2]) throw new Error(`Alignment needs a condition as wide as CLIP (${targets.shape[1]}), found ${condition.shape[2]}.`);
  return condition.mean<tf.Tensor2D>(1).sub(targets).square().mean();
}

/**
 * Squared distance of conditions to the text states that the U-Net was trained with, as models with an intermediate CLIP space regress them (GILL, Koh et
 * al. 2023), which the paper argues against. condition and targets [images, queries, dim].
 */
export function regressionLoss(condition: tf.Tensor3D, targets: tf.Tensor3D | null | undefined): tf.Scalar {
  if (!targets) throw new Error('The objective weighs regression, but the batch has no targets for it. Train a stage of nano, whose foundation has the text tower.');
  if (targets.shape.some((size, axis) => size !== condition.shape[axis])) throw new Error(`Regression needs targets of the condition's shape [${condition.shape}], found [${targets.shape}].`);
  return condition.sub(targets).square().mean();
}

/**
 * min(SNR, γ) / SNR. For v-prediction the reference adds 1 to the SNR first, and so inside the minimum too (modeling_plugins.py:556-566).
 */
export function minSnrWeight(schedule: NoiseSchedule, timestep: number, gamma: number): number {
  const ratio = snr(schedule, timestep) + (schedule.predictionType === 'v_prediction' ? 1 : 0);
  return Math.min(ratio, gamma) / ratio;
}

/** The pieces of the denoising loss, for tests and figures. */
export function diffusionTerms(
  p: DreamParams, config: DreamConfig, states: tf.Tensor3D, batch: EncodedBatch, draws: DiffusionDraws, objective: Objective,
): DiffusionTerms {
  const { latents, dreamStarts } = batch;
  const schedule = noiseSchedule(config.sampler);
  const noise = draws.offset ? draws.noise.add<tf.Tensor4D>(draws.offset.mul(objective.noiseOffset)) : draws.noise;
  // Perturbation enters the noisy latents alone: the target is the noise without it (Ning et al. 2023).
  const entering = draws.perturbation ? noise.add<tf.Tensor4D>(draws.perturbation.mul(objective.inputPerturbation)) : noise;
  const noisyLatents = addNoise(schedule, latents!, entering, draws.timesteps);

  const conditional = gatherBlocks(states, dreamStarts, config.numDreamQueries);
  const dropped = draws.drop ? dropConditions(p, config, conditional, draws.drop, objective) : conditional;
  const condition = projectCondition(p, dropped);
  return {
    states: dropped,
    condition,
    noisyLatents,
    target: predictionTarget(schedule, latents!, noise, draws.timesteps),
    prediction: unet(p.stable_diffusion_head.unet, noisyLatents, draws.timesteps, condition, config.unet),
  };
}

function dropConditions(p: DreamParams, config: DreamConfig, conditional: tf.Tensor3D, drop: readonly number[], objective: Objective): tf.Tensor3D {
  const mask = tf.tensor3d([...drop], [drop.length, 1, 1]);
  const unconditional = unconditionalStates(p, config, objective.unconditional); // [1, queries, dim]
  return conditional.mul(tf.sub(1, mask)).add(unconditional.mul(mask));
}

/** States at the dream block of a sequence with nothing before it, as training for guidance uses them. [1, queries, dim] */
export function unconditionalStates(p: DreamParams, config: DreamConfig, choice: Objective['unconditional']): tf.Tensor3D {
  const { tokens, numDreamQueries } = config;
  const ids = [tokens.bos, ...dreamBlock({ ...config, numImagePatches: 0 }), tokens.eos];
  const embeds = embedTokens(p, tf.tensor2d([ids], [1, ids.length], 'int32'));
  const spliced = choice === 'queries' ? splice(embeds, { queries: p.model.dream_embedding.dream_queries, dreamStarts: [2] }) : embeds;
  return gatherBlocks(llamaStates(p, spliced, config.language), [2], numDreamQueries);
}
