import type * as tf from '@tensorflow/tfjs';
import { attention, linears } from '../../core/ops/index.js';
import { constant, normal, type Params } from '../../core/params.js';
import { biasedLinearSpec, layerNorm, linear, mlp, normSpec } from '../../nn/index.js';
import type { EncoderConfig } from './config.js';

/** One layer of either tower. Initialised as CLIP is, smaller the deeper the tower (Radford et al. 2021, section 2.4; transformers). */
export const encoderLayerSpec = ({ hiddenSize, intermediateSize, numLayers }: EncoderConfig) => {
  const inStd = hiddenSize ** -0.5 * (2 * numLayers) ** -0.5;
  const projection = (std: number) => biasedLinearSpec(hiddenSize, hiddenSize, normal(std), constant(0));
  return {
    self_attn: { k_proj: projection(inStd), v_proj: projection(inStd), q_proj: projection(inStd), out_proj: projection(hiddenSize ** -0.5) },
    layer_norm1: normSpec(hiddenSize),
    mlp: {
      fc1: biasedLinearSpec(hiddenSize, intermediateSize, normal((2 * hiddenSize) ** -0.5), constant(0)),
      fc2: biasedLinearSpec(intermediateSize, hiddenSize, normal(inStd), constant(0)),
    },
    layer_norm2: normSpec(hiddenSize),
  };
};

export const encoderSpec = (config: EncoderConfig) => ({ layers: Array.from({ length: config.numLayers }, () => encoderLayerSpec(config)) });

export type EncoderLayerParams = Params<ReturnType<typeof encoderLayerSpec>>;

export interface EncoderOptions {
  causal?: boolean;
  /** [batch, 1, 1, tokens], added to the scores. */
  bias?: tf.Tensor4D;
}

/** One pre-norm transformer layer. x [batch, tokens, dim] -> same */
export function encoderLayer(p: EncoderLayerParams, x: tf.Tensor3D, config: EncoderConfig, options: EncoderOptions = {}): tf.Tensor3D {
  const normed = layerNorm(p.layer_norm1, x, config.normEps);
  const [q, k, v] = linears(normed, [p.self_attn.q_proj, p.self_attn.k_proj, p.self_attn.v_proj]);
  const mixed = attention(q, k, v, { numHeads: config.numHeads, ...options });
  const attended = linear(p.self_attn.out_proj, mixed, x);
  return mlp(p.mlp, layerNorm(p.layer_norm2, attended, config.normEps), config.activation, attended);
}

/** The states that enter the first layer and those that leave each of `layers`. */
export function encoderStates(layers: readonly EncoderLayerParams[], x: tf.Tensor3D, config: EncoderConfig, options: EncoderOptions = {}): tf.Tensor3D[] {
  const states = [x];
  layers.forEach((layer, i) => states.push(encoderLayer(layer, states[i], config, options)));
  return states;
}
