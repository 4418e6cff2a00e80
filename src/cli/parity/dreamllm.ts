import * as tf from '@tensorflow/tfjs';
import { loadParams } from '../../core/checkpoint.js';
import { valueAndGrads } from '../../core/ops/index.js';
import { flatten } from '../../core/params.js';
import { blockStarts } from '../../dreamllm/collate.js';
import { readDreamConfig, type DreamConfig, type Objective } from '../../dreamllm/config.js';
import { releasedQueryStates } from '../../dreamllm/create.js';
import { embedBatch, encodeImages, forwardStates, type EncodedBatch, type TokenBatch } from '../../dreamllm/forward.js';
import { diffusionTerms, dreamLoss, unconditionalStates, type DiffusionDraws } from '../../dreamllm/loss.js';
import { dreamSpec, projectCondition, projectImages, residentModel, type DreamModel, type DreamParams } from '../../dreamllm/model.js';
import { decodeLatents, sample, scheduler, unet } from '../../models/diffusion/index.js';
import { decoderOf, generate, lmHead } from '../../models/llama/index.js';
import type { Fixture } from './fixture.js';
import { fileLayout } from './gradients.js';
import type { Kind } from './kinds.js';
import type { Report } from './report.js';

/** `DreamLLMForCausalMLM` of the reference code: losses, gradients, drawing and generation. */
export const dreamKind: Kind = {
  name: 'dreamllm',
  matches: ({ config }) => config.model_type === 'dreamllm',
  async run(fixture, report) {
    const { config, objective } = readDreamConfig(fixture.folder);
    const params = loadParams(dreamSpec(config), fixture.path('model.safetensors'), { ignore: /rotary_emb\.inv_freq$|position_ids$/ });
    try {
      for (const trial of trials(objective)) if (fixture.wants(trial.name)) await training(params, config, fixture, report, trial);
      if (fixture.wants('inference')) await inference(residentModel(params, config), fixture, report);
    } finally {
      tf.dispose(params as tf.TensorContainer);
    }
  },
};

/** One training case of the fixture: which rows of its batch, and what differs from the default settings. */
interface Trial {
  name: string;
  row?: number;
  objective: Objective;
  predictionType?: 'v_prediction';
  drop?: boolean;
}

const trials = (released: Objective): Trial[] => {
  const base: Objective = { ...released, unconditional: 'released' };
  return [
    { name: 'joint', objective: base },
    { name: 'joint_lm_only', objective: { ...base, weights: { lm: 1, diffusion: 0 } } },
    { name: 'joint_vm_only', objective: { ...base, weights: { lm: 0, diffusion: 1 } } },
    { name: 'joint_l1_norm', objective: { ...base, scale: 'l1_norm' } },
    { name: 'joint_l2_norm', objective: { ...base, scale: 'l2_norm' } },
    { name: 'comprehension', row: 0, objective: base },
    { name: 'creation', row: 1, objective: base },
    { name: 'cfg_drop', drop: true, objective: base },
    { name: 'eps_minsnr', objective: { ...base, snrGamma: 5 } },
    { name: 'v_minsnr', drop: true, predictionType: 'v_prediction', objective: { ...base, snrGamma: 5, noiseOffset: 0.05, inputPerturbation: 0.1 } },
  ];
};

const channelsLast = (x: tf.Tensor) => x.transpose<tf.Tensor4D>([0, 2, 3, 1]);
const channelsFirst = (x: tf.Tensor) => x.transpose([0, 3, 1, 2]);
const images = (fixture: Fixture, name: string) => channelsLast(fixture.input<tf.Tensor4D>(name));

/** The whole batch, or one row of it without padding. */
function tokens(fixture: Fixture, config: DreamConfig, row?: number): TokenBatch {
  const [ids, labels, mask] = ['input_ids', 'labels', 'attention_mask'].map((name) => fixture.inputRows(name));
  const kept = row === undefined ? ids.map((_, i) => i) : [row];
  const length = row === undefined ? ids[0].length : mask[row].reduce((a, b) => a + b, 0);
  const flat = (rows: number[][]) => Int32Array.from(kept.flatMap((i) => rows[i].slice(0, length)));
  const tokenIds = flat(ids);
  return { batch: kept.length, tokens: length, tokenIds, labels: flat(labels), mask: flat(mask), ...blockStarts(tokenIds, config.tokens) };
}

async function training(p: DreamParams, given: DreamConfig, fixture: Fixture, report: Report, { name, row, objective, predictionType, drop }: Trial) {
  const config = predictionType ? { ...given, sampler: { ...given.sampler, predictionType } } : given;
  const compare = async (output: string, value: () => tf.Tensor) => {
    if (!fixture.outputs.has(`${name}.${output}`)) return;
    const found = tf.tidy(value);
    await report.compare(`${name}.${output}`, found);
    found.dispose();
  };
  const batch = tokens(fixture, config, row);
  const first = (x: tf.Tensor4D, count: number) => (count ? x.slice([0, 0, 0, 0], [count, -1, -1, -1]) : null);
  const [seen, drawn] = [batch.imageStarts.length, batch.dreamStarts.length];
  const encoded = encodeImages(
    p, config, batch,
    { images: first(images(fixture, 'images'), seen), dreamImages: first(images(fixture, 'images_dm'), drawn) },
    first(images(fixture, 'vae_sample_noise'), drawn) ?? undefined,
  );
  const draws = drawn ? drawsOf(fixture, drawn, objective, drop) : null;

  const states = forwardStates(p, config, encoded);
  const visible = tf.tensor3d(batch.mask, [batch.batch, batch.tokens, 1]);
  await compare('inputs_embeds', () => embedBatch(p, encoded));
  await compare('image_embeds', () => projectImages(p, encoded.features!));
  await compare('last_hidden_state_masked', () => states.mul(visible));
  await compare('logits_masked', () => lmHead(p, states).mul(visible));
  if (draws) {
    const terms = tf.tidy(() => ({ ...diffusionTerms(p, config, states, encoded, draws, objective) }));
    await compare('encoder_hidden_states', () => terms.states.clone());
    await compare('condition', () => terms.condition.clone());
    await compare('latents', () => channelsFirst(encoded.latents!));
    await compare('noisy_latents', () => channelsFirst(terms.noisyLatents));
    await compare('target', () => channelsFirst(terms.target));
    await compare('model_pred', () => channelsFirst(terms.prediction));
    await compare('u_encoder_hidden_states', () => unconditionalStates(p, config, objective.unconditional));
  }
  await losses(p, config, encoded, draws, objective, name, fixture, report);
}

function drawsOf(fixture: Fixture, count: number, objective: Objective, drop = false): DiffusionDraws {
  const first = (name: string) => images(fixture, name).slice([0, 0, 0, 0], [count, -1, -1, -1]);
  const numbers = (name: string) => [...fixture.inputs.get(name)!.values].map(Number).slice(0, count);
  return {
    noise: first('noise'),
    timesteps: numbers('timesteps'),
    ...(drop ? { drop: numbers('drop_mask') } : {}),
    ...(objective.noiseOffset ? { offset: first('offset_noise') } : {}),
    ...(objective.inputPerturbation ? { perturbation: first('perturbation_noise') } : {}),
  };
}

/** Losses, and every gradient that is stored. Parameters that a case does not use have a gradient of zeros. */
async function losses(
  p: DreamParams, config: DreamConfig, batch: EncodedBatch, draws: DiffusionDraws | null, objective: Objective, name: string, fixture: Fixture, report: Report,
) {
  const wanted = new Map([...flatten(p)].filter(([key]) => fixture.outputs.has(`${name}.grad.${key}`)));
  const parts: tf.Scalar[] = [];
  const loss = () => {
    const { loss, lm, diffusion } = dreamLoss(p, config, batch, draws, objective);
    parts.push(tf.keep(lm), tf.keep(diffusion));
    return loss;
  };
  if (wanted.size === 0) await report.compare(`${name}.loss`, tf.tidy(loss));
  else {
    const { value, grads } = valueAndGrads(loss, wanted, { allowUnused: true });
    await report.compare(`${name}.loss`, value);
    for (const [key, grad] of grads) await report.compare(`${name}.grad.${key}`, tf.tidy(() => fileLayout(grad)));
    tf.dispose([value, ...grads.values()]);
  }
  await report.compare(`${name}.lm_loss`, parts[0]);
  await report.compare(`${name}.vm_loss`, parts[1]);
  tf.dispose(parts);
}

async function inference(model: DreamModel, fixture: Fixture, report: Report) {
  const { config, plugins, language } = model;
  const prompt = await releasedQueryStates(model, fixture.inputRows('inference.prompt_ids'), fixture.inputRows('inference.prompt_mask'));
  const empty = fixture.inputRows('inference.neg_ids');
  const negative = await releasedQueryStates(model, empty, empty.map((row) => row.map(() => 1)));
  await report.compare('inference.prompt_embeds', prompt);
  await report.compare('inference.negative_prompt_embeds', negative);

  const steps = fixture.expected('inference.timesteps').shape[0];
  const sampler = scheduler(config.sampler, steps);
  await report.compare('inference.timesteps', tf.tensor1d([...sampler.timesteps], 'int32'));
  const condition = projectCondition(plugins, prompt);
  const unconditional = projectCondition(plugins, negative);
  const stepNoise = fixture.input<tf.Tensor<tf.Rank.R5>>('inference.step_noise');
  for (const [name, guidanceScale, guidanceRescale] of [['guidance', 4, 0], ['guidance_rescaled', 4, 0.7], ['no_guidance', 1, 0]] as const) {
    const seen: tf.Tensor[] = [];
    const latents = await sample({
      predict: (x, t, c) => unet(plugins.stable_diffusion_head.unet, x, Array<number>(x.shape[0]).fill(t), c, config.unet),
      scheduler: sampler, condition, unconditional, guidanceScale, guidanceRescale,
      noise: images(fixture, 'inference.start_latents'),
      stepNoise: (index) => channelsLast(stepNoise.slice(index, 1).squeeze([0])),
      onStep: ({ latents }) => void seen.push(tf.keep(channelsFirst(latents))),
    });
    await report.compare(`inference.${name}.latents`, tf.stack(seen));
    const pictures = decodeLatents(plugins.stable_diffusion_head.vae, latents, config.vae);
    await report.compare(`inference.${name}.images`, channelsFirst(pictures.div(2).add(0.5).clipByValue(0, 1)));
    tf.dispose(seen);
  }

  const ids = fixture.inputRows('inference.vqa_ids');
  const flat = Int32Array.from(ids[0]);
  const encoded = encodeImages(
    plugins as DreamParams, config,
    { batch: 1, tokens: flat.length, tokenIds: flat, labels: flat, mask: flat, ...blockStarts(flat, config.tokens) },
    { images: images(fixture, 'images').slice([0, 0, 0, 0], [1, -1, -1, -1]), dreamImages: null },
  );
  const decoder = decoderOf(language, { embeds: embedBatch(plugins as DreamParams, encoded) });
  const length = fixture.expected('inference.generate.ids').shape[1];
  const logits: number[][] = [];
  const [made] = await generate(
    decoder,
    async (row) => {
      logits.push([...(await row.data())]);
      return [logits.at(-1)!.indexOf(Math.max(...logits.at(-1)!))];
    },
    { maxNewTokens: length - ids[0].length },
  );
  decoder.dispose();
  await report.compare('inference.generate.ids', tf.tensor2d([[...ids[0], ...made]], undefined, 'int32'));
  await report.compare('inference.generate.logits', tf.tensor3d([logits]));
  const gaps = logits.map((row) => [...row].sort((a, b) => b - a)).map(([first, second]) => first - second);
  await report.compare('inference.generate.top2_gap', tf.tensor1d(gaps));
}
