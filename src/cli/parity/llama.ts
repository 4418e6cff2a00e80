import * as tf from '@tensorflow/tfjs';
import { loadParams } from '../../core/checkpoint.js';
import { flatten } from '../../core/params.js';
import {
  embedTokens, generate, KvCache, llama, llamaAttentionWeights, llamaBuffers, llamaConfig, llamaDecoder, llamaHiddenStates, llamaSpec, llamaStates, lmHead,
  lmLoss, positionsFromMask, type Choose, type LlamaConfig, type LlamaParams,
} from '../../models/llama/index.js';
import type { Fixture } from './fixture.js';
import { compareGradients } from './gradients.js';
import type { Kind } from './kinds.js';
import type { Report } from './report.js';

/** `LlamaForCausalLM` of transformers. */
export const llamaKind: Kind = {
  name: 'llama',
  matches: ({ config }) => config.model_type === 'llama',
  async run(fixture, report) {
    const config = llamaConfig(fixture.config);
    const params = loadParams(llamaSpec(config), fixture.path('model.safetensors'), { ignore: llamaBuffers });
    try {
      await forward(params, config, fixture, report);
      await embeds(params, config, fixture, report);
      for (const side of ['right', 'left']) await padded(params, config, fixture, report, side);
      await cached(params, config, fixture, report);
      await generated(params, config, fixture, report);
    } finally {
      tf.dispose(params as tf.TensorContainer);
    }
  },
};

async function forward(p: LlamaParams, config: LlamaConfig, fixture: Fixture, report: Report) {
  const ids = fixture.input<tf.Tensor2D>('input_ids');
  const labels = fixture.input<tf.Tensor2D>('labels');
  await report.compare('logits', llama(p, ids, config));
  const states = llamaHiddenStates(p, embedTokens(p, ids), config);
  for (const [i, state] of states.entries()) await report.compare(`hidden_states.${i}`, state);
  for (const [i, layer] of p.model.layers.entries()) {
    if (fixture.wants(`attentions.${i}`)) await report.compare(`attentions.${i}`, llamaAttentionWeights(layer, states[i], config));
  }
  await compareGradients(fixture, report, () => lmLoss(llama(p, ids, config), labels), flatten(p), { lossName: 'loss' });
}

async function embeds(p: LlamaParams, config: LlamaConfig, fixture: Fixture, report: Report) {
  const x = fixture.input<tf.Tensor3D>('inputs_embeds');
  const labels = fixture.input<tf.Tensor2D>('labels_embeds');
  const logits = () => tf.tidy(() => lmHead(p, llamaStates(p, x, config)));
  await report.compare('embeds.logits', logits());
  await compareGradients(fixture, report, () => lmLoss(logits(), labels), new Map([['inputs_embeds', x]]), {
    lossName: 'embeds.loss',
    gradName: (key) => `embeds.grad.${key}`,
  });
}

async function padded(p: LlamaParams, config: LlamaConfig, fixture: Fixture, report: Report, side: string) {
  const ids = fixture.input<tf.Tensor2D>(`input_ids_${side}`);
  const mask = fixture.input<tf.Tensor2D>(`attention_mask_${side}`);
  const labels = fixture.input<tf.Tensor2D>(`labels_${side}`);
  // Rows of padding mean nothing; the stored ones are 0.
  const masked = (logits: tf.Tensor3D) => logits.mul(mask.toFloat().expandDims(2));
  const logits = llama(p, ids, config, { mask });
  await report.compare(`${side}_pad.logits_masked`, masked(logits));
  await report.compare(`${side}_pad.loss`, lmLoss(logits, labels));
  if (!fixture.wants(`${side}_pad_positions`)) return;
  const positions = positionsFromMask(fixture.inputRows(`attention_mask_${side}`));
  await report.compare(`${side}_pad_positions.position_ids`, tf.tensor2d(positions, undefined, 'int32'));
  await report.compare(`${side}_pad_positions.logits_masked`, masked(llama(p, ids, config, { mask, positions })));
}

async function cached(p: LlamaParams, config: LlamaConfig, fixture: Fixture, report: Report) {
  const ids = fixture.input<tf.Tensor2D>('input_ids');
  const [, tokens] = ids.shape;
  const prefill = fixture.expected('cache.prefill.key.0').shape[2];
  const cache = new KvCache();
  const chunks = [prefill, 3, ...Array<number>(tokens - prefill - 3).fill(1)];
  const logits: tf.Tensor3D[] = [];
  const headsFirst = (x: tf.Tensor3D) => {
    const [batch, seen] = x.shape;
    return x.reshape([batch, seen, config.numKvHeads, config.hiddenSize / config.numHeads]).transpose([0, 2, 1, 3]);
  };
  for (const [i, size] of chunks.entries()) {
    logits.push(llama(p, ids.slice([0, cache.length], [-1, size]), config, { cache }));
    if (i > 0) continue;
    await report.compare('cache.prefill.key.0', headsFirst(cache.layer(0).k));
    await report.compare('cache.prefill.value.0', headsFirst(cache.layer(0).v));
  }
  await report.compare('cache.logits', tf.concat(logits, 1));
  await report.compare('cache.final.key.last', headsFirst(cache.layer(config.numLayers - 1).k));
  await report.compare('cache.final.value.last', headsFirst(cache.layer(config.numLayers - 1).v));
  cache.dispose();
}

async function generated(p: LlamaParams, config: LlamaConfig, fixture: Fixture, report: Report) {
  const left = fixture.inputRows('prompt_left_ids');
  const leftMask = fixture.inputRows('prompt_left_mask');
  await continued('generate', fixture.inputRows('prompt_ids'));
  await continued('generate_left', left, leftMask);
  if (!fixture.wants('generate_eos')) return;
  const eos = Number(fixture.expected('generate_eos.eos_token_id').values[0]);
  await report.compare('generate_eos.eos_token_id', tf.tensor1d([eos], 'int32'));
  await continued('generate_eos', left, leftMask, [eos]);

  async function continued(name: string, prompt: number[][], mask?: number[][], eosTokenIds: number[] = []) {
    const length = fixture.expected(`${name}.ids`).shape[1];
    const decoder = llamaDecoder(p, config, { ids: prompt }, mask);
    const gaps: number[][] = prompt.map(() => []);
    const made = await generate(decoder, mostLikely(gaps), { maxNewTokens: length - prompt[0].length, eosTokenIds });
    decoder.dispose();
    const padId = Number(fixture.config.pad_token_id ?? 0);
    const whole = prompt.map((row, i) => [...row, ...made[i], ...Array<number>(length - row.length - made[i].length).fill(padId)]);
    await report.compare(`${name}.ids`, tf.tensor2d(whole, undefined, 'int32'));
    const gapName = `${name}.top2_gap`;
    if (fixture.wants(gapName)) await report.compare(gapName, { shape: fixture.expected(gapName).shape, values: gaps.flat() });
  }
}

/** Picks as `greedy` does, and notes how far the second token of each sequence was behind. */
const mostLikely = (gaps: number[][]): Choose => async (logits) => {
  const { values, indices } = tf.topk(logits, 2);
  ((await values.array()) as number[][]).forEach(([first, second], row) => gaps[row].push(first - second));
  const ids = ((await indices.array()) as number[][]).map(([first]) => first);
  tf.dispose([values, indices]);
  return ids;
};
