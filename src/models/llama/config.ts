import type { RopeConfig } from '../../nn/index.js';

export interface LlamaConfig {
  vocabSize: number;
  hiddenSize: number;
  /** Width inside the feed-forward block. */
  intermediateSize: number;
  numLayers: number;
  numHeads: number;
  /** Fewer than `numHeads`: grouped-query attention; one: multi-query attention. */
  numKvHeads: number;
  /** Context length the model was trained with. */
  maxPositions: number;
  normEps: number;
  ropeTheta: number;
  /** Factor of linear position interpolation; 1 for none. */
  ropeScaling: number;
}

/** LLaMA-7B (Touvron et al. 2023), and so Vicuna-7B v1.1, with its own 32000 tokens or more. */
export const llama7b = (vocabSize = 32000): LlamaConfig => ({
  vocabSize,
  hiddenSize: 4096,
  intermediateSize: 11008,
  numLayers: 32,
  numHeads: 32,
  numKvHeads: 32,
  maxPositions: 2048,
  normEps: 1e-6,
  ropeTheta: 10000,
  ropeScaling: 1,
});

/** Reads a Hugging Face `config.json` of a LLaMA. What it asks for and this model lacks is an error. */
export function llamaConfig(json: Record<string, unknown>): LlamaConfig {
  const number = (key: string, fallback?: number): number => {
    const value = json[key] ?? fallback;
    if (typeof value !== 'number') throw new Error(`LLaMA configuration: expected a number under "${key}", found ${JSON.stringify(json[key])}.`);
    return value;
  };
  const onlyAs = (key: string, ...supported: unknown[]) => {
    if (json[key] == null || supported.includes(json[key])) return;
    throw new Error(`LLaMA configuration: "${key}" is ${JSON.stringify(json[key])}; supported is ${supported.map((value) => JSON.stringify(value)).join(' or ')}.`);
  };
  onlyAs('hidden_act', 'silu', 'swish');
  onlyAs('attention_bias', false);
  onlyAs('tie_word_embeddings', false);
  const numHeads = number('num_attention_heads');
  return {
    vocabSize: number('vocab_size'),
    hiddenSize: number('hidden_size'),
    intermediateSize: number('intermediate_size'),
    numLayers: number('num_hidden_layers'),
    numHeads,
    numKvHeads: number('num_key_value_heads', numHeads),
    maxPositions: number('max_position_embeddings', 2048),
    normEps: number('rms_norm_eps', 1e-6),
    ropeTheta: number('rope_theta', 10000),
    ropeScaling: ropeFactor(json.rope_scaling),
  };
}

function ropeFactor(scaling: unknown): number {
  if (scaling == null) return 1;
  const { type, rope_type = type, factor } = scaling as { type?: string; rope_type?: string; factor?: number };
  if (rope_type === 'linear' && typeof factor === 'number') return factor;
  throw new Error(`LLaMA configuration: expected rope_scaling of type "linear" with a factor, found ${JSON.stringify(scaling)}.`);
}

export const ropeOf = ({ hiddenSize, numHeads, ropeTheta, ropeScaling }: LlamaConfig): RopeConfig => ({
  headDim: hiddenSize / numHeads,
  theta: ropeTheta,
  scaling: ropeScaling,
});
