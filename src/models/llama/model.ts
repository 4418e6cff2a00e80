import * as tf from '@tensorflow/tfjs';
import * as ops from '../../core/ops/index.js';
import { normal, type Params } from '../../core/params.js';
import { shapes } from '../../core/shapes.js';
import { embedding, embeddingSpec, linear, linearSpec, rmsNorm, rmsNormSpec, ropeAngles, swiglu, swigluSpec, type RopeAngles } from '../../nn/index.js';
import type { KvCache } from './cache.js';
import { ropeOf, type LlamaConfig } from './config.js';

const init = normal(0.02);

const attentionSpec = ({ hiddenSize, numHeads, numKvHeads }: LlamaConfig) => {
  const kvSize = (hiddenSize / numHeads) * numKvHeads;
  return {
    q_proj: linearSpec(hiddenSize, hiddenSize, init),
    k_proj: linearSpec(hiddenSize, kvSize, init),
    v_proj: linearSpec(hiddenSize, kvSize, init),
    o_proj: linearSpec(hiddenSize, hiddenSize, init),
  };
};

export const llamaLayerSpec = (config: LlamaConfig) => ({
  self_attn: attentionSpec(config),
  mlp: swigluSpec(config.hiddenSize, config.intermediateSize, init),
  input_layernorm: rmsNormSpec(config.hiddenSize),
  post_attention_layernorm: rmsNormSpec(config.hiddenSize),
});

/** A LLaMA under the names of its published checkpoints; initialised by N(0, 0.02²), norms by 1. */
export const llamaSpec = (config: LlamaConfig) => ({
  model: {
    embed_tokens: embeddingSpec(config.vocabSize, config.hiddenSize, init),
    layers: Array.from({ length: config.numLayers }, () => llamaLayerSpec(config)),
    norm: rmsNormSpec(config.hiddenSize),
  },
  lm_head: linearSpec(config.hiddenSize, config.vocabSize, init),
});

export type LlamaParams = Params<ReturnType<typeof llamaSpec>>;
export type LlamaLayerParams = Params<ReturnType<typeof llamaLayerSpec>>;

/** Keys that older checkpoints hold besides the parameters. */
export const llamaBuffers = /(^|\.)rotary_emb\.inv_freq$/;

export interface LlamaOptions {
  /** [batch, keys], 1 keeps and 0 drops a key; keys are those of the cache and then the tokens. Default: all are kept. */
  mask?: tf.Tensor2D;
  /** Position of each token, one list for all sequences or one for each. Default: counted on from the cache, padding included. */
  positions?: readonly number[] | readonly (readonly number[])[];
  /** Keys and values of earlier tokens; those of the tokens given are appended. */
  cache?: KvCache;
  /** The tokens are those of several sequences, one behind the other, each of so many; the batch is 1, and there is no mask and no cache. */
  lengths?: readonly number[];
}

/** ids int32 [batch, tokens] -> [batch, tokens, dim] */
export const embedTokens = (p: LlamaParams, ids: tf.Tensor2D): tf.Tensor3D => embedding(p.model.embed_tokens, ids);

/** States at every token after the final norm, as the head and DreamLLM's condition take them. embeds [batch, tokens, dim] -> same. */
export function llamaStates(p: LlamaParams, embeds: tf.Tensor3D, config: LlamaConfig, options: LlamaOptions = {}): tf.Tensor3D {
  return tf.tidy(() => {
    const context = layerContext(embeds, config, options);
    const last = p.model.layers.reduce((hidden, layer, i) => tf.tidy(() => llamaLayer(layer, hidden, i, context)), embeds);
    options.cache?.advance(embeds.shape[1]);
    return rmsNorm(p.model.norm, last, config.normEps);
  });
}

/** All states: the embeddings, the output of each layer but the last, and the final norm's of the last. Each [batch, tokens, dim]. */
export function llamaHiddenStates(p: LlamaParams, embeds: tf.Tensor3D, config: LlamaConfig, options: LlamaOptions = {}): tf.Tensor3D[] {
  return tf.tidy(() => {
    const context = layerContext(embeds, config, options);
    const states: tf.Tensor3D[] = [embeds.clone()];
    p.model.layers.forEach((layer, i) => states.push(tf.tidy(() => llamaLayer(layer, states[i], i, context))));
    options.cache?.advance(embeds.shape[1]);
    states.push(rmsNorm(p.model.norm, states.pop()!, config.normEps));
    return states;
  });
}

/** states […, dim] -> logits […, vocab] */
export const lmHead = <T extends tf.Tensor>(p: Pick<LlamaParams, 'lm_head'>, states: T): T => linear(p.lm_head, states);

/** Logits of the next token at every token. ids int32 [batch, tokens] -> [batch, tokens, vocab] */
export function llama(p: LlamaParams, ids: tf.Tensor2D, config: LlamaConfig, options: LlamaOptions = {}): tf.Tensor3D {
  shapes({ ids: [ids, 'batch tokens'] });
  return tf.tidy(() => lmHead(p, llamaStates(p, embedTokens(p, ids), config, options)));
}

/** What all layers share in one pass. */
export interface LayerContext {
  config: LlamaConfig;
  angles: RopeAngles;
  bias?: tf.Tensor4D;
  cache?: KvCache;
  lengths?: readonly number[];
}

export function layerContext(embeds: tf.Tensor3D, config: LlamaConfig, { mask, positions, cache, lengths }: LlamaOptions): LayerContext {
  const { batch, tokens } = shapes({ embeds: [embeds, `batch tokens ${config.hiddenSize}` as 'batch tokens'] });
  const past = cache?.length ?? 0;
  if (mask && (mask.shape[0] !== batch || mask.shape[1] !== past + tokens)) {
    throw new Error(`LLaMA: expected a mask [${batch}, ${past + tokens}] over ${past} cached and ${tokens} new tokens, found [${mask.shape}].`);
  }
  if (lengths && (mask || cache)) throw new Error('LLaMA: several sequences one behind the other go without a mask and without a cache.');
  const counted = () => (lengths ? lengths.flatMap((length) => Array.from({ length }, (_, i) => i)) : Array.from({ length: tokens }, (_, i) => past + i));
  const angles = ropeAngles(positions ?? counted(), ropeOf(config));
  if (angles.cos.shape[1] !== tokens) throw new Error(`LLaMA: expected ${tokens} positions, one a token, found ${angles.cos.shape[1]}.`);
  return { config, angles, cache, lengths, bias: mask && paddingBias(mask) };
}

/** Hides the keys that a mask drops. mask [batch, keys] -> bias [batch, 1, 1, keys] */
export const paddingBias = (mask: tf.Tensor2D): tf.Tensor4D => tf.sub(1, mask.toFloat()).mul(-1e9).reshape([mask.shape[0], 1, 1, mask.shape[1]]);

/** One decoder layer. hidden [batch, tokens, dim] -> same */
export function llamaLayer(p: LlamaLayerParams, hidden: tf.Tensor3D, index: number, context: LayerContext): tf.Tensor3D {
  const { normEps } = context.config;
  if (context.cache && hidden.shape[1] === 1) return nextToken(p, hidden, index, context);
  const mixed = selfAttention(p.self_attn, rmsNorm(p.input_layernorm, hidden, normEps), index, context);
  const attended = linear(p.self_attn.o_proj, mixed, hidden);
  return swiglu(p.mlp, rmsNorm(p.post_attention_layernorm, attended, normEps), attended);
}

/** A layer for one more token of each sequence, in one kernel where the backend has it. */
function nextToken(p: LlamaLayerParams, hidden: tf.Tensor3D, index: number, { config, angles, bias, cache }: LayerContext): tf.Tensor3D {
  const { self_attn: attention, mlp, input_layernorm, post_attention_layernorm } = p;
  const weights = {
    norm1: input_layernorm.weight, q: attention.q_proj.weight, k: attention.k_proj.weight, v: attention.v_proj.weight, o: attention.o_proj.weight,
    norm2: post_attention_layernorm.weight, gate: mlp.gate_proj.weight, up: mlp.up_proj.weight, down: mlp.down_proj.weight,
  };
  const { numHeads, numKvHeads, normEps: eps } = config;
  return cache!.extend(index, (held) => ops.decodeLayer(hidden, weights, held, { numHeads, numKvHeads, eps, rope: angles, bias }));
}

/** Attention up to the output projection. x [batch, tokens, dim] -> [batch, tokens, heads·headDim] */
function selfAttention(p: LlamaLayerParams['self_attn'], x: tf.Tensor3D, index: number, { config, angles, bias, cache, lengths }: LayerContext): tf.Tensor3D {
  const { numHeads, numKvHeads } = config;
  const [q, k, v] = ops.linears(x, [p.q_proj, p.k_proj, p.v_proj]);
  if (!cache) return ops.attention(q, k, v, { numHeads, numKvHeads, causal: true, bias, rope: angles, lengths });
  const rotate = (t: tf.Tensor3D, heads: number) => ops.rope(t, angles.cos, angles.sin, heads);
  const held = cache.append(index, rotate(k, numKvHeads), v);
  return ops.attention(rotate(q, numHeads), held.k, held.v, { numHeads, numKvHeads, causal: true, bias, keys: held.keys });
}

/** Attention probabilities of one layer for the states that enter it. hidden [batch, tokens, dim] -> [batch, heads, tokens, tokens] */
export function llamaAttentionWeights(p: LlamaLayerParams, hidden: tf.Tensor3D, config: LlamaConfig, options: Omit<LlamaOptions, 'cache'> = {}): tf.Tensor4D {
  return tf.tidy(() => {
    const { angles, bias } = layerContext(hidden, config, options);
    const { numHeads, numKvHeads } = config;
    const x = rmsNorm(p.input_layernorm, hidden, config.normEps);
    const q = ops.rope(linear(p.self_attn.q_proj, x), angles.cos, angles.sin, numHeads);
    const k = ops.rope(linear(p.self_attn.k_proj, x), angles.cos, angles.sin, numKvHeads);
    return ops.attentionWeights(q, k, { numHeads, numKvHeads, causal: true, bias });
  });
}
