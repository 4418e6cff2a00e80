import * as tf from '@tensorflow/tfjs';
import { normal, type Params } from '../../core/params.js';
import { shapes } from '../../core/shapes.js';
import { embedding, embeddingSpec, layerNorm, normSpec } from '../../nn/index.js';
import type { ClipTextConfig } from './config.js';
import { encoderSpec, encoderStates } from './encoder.js';

/** The text tower of a CLIP under the names of its published checkpoints. */
export const clipTextSpec = (config: ClipTextConfig) => ({
  text_model: {
    embeddings: {
      token_embedding: embeddingSpec(config.vocabSize, config.hiddenSize, normal(0.02)),
      position_embedding: embeddingSpec(config.maxPositions, config.hiddenSize, normal(0.02)),
    },
    encoder: encoderSpec(config),
    final_layer_norm: normSpec(config.hiddenSize),
  },
});

export type ClipTextParams = Params<ReturnType<typeof clipTextSpec>>;

/**
 * States before the first layer and after each: numLayers + 1 of [texts, tokens, dim], without the last normalisation.
 * ids int32 [texts, tokens]; mask [texts, tokens], 1 keeps and 0 drops, on top of the causal order.
 */
export function clipTextHiddenStates(p: ClipTextParams, ids: tf.Tensor2D, config: ClipTextConfig, mask?: tf.Tensor2D): tf.Tensor3D[] {
  const { texts, tokens } = shapes({ ids: [ids, 'texts tokens'], mask: [mask ?? ids, 'texts tokens'] });
  if (tokens > config.maxPositions) throw new Error(`CLIP text: expected at most ${config.maxPositions} tokens, found ${tokens}. Cut the text.`);
  return tf.tidy(() => {
    const { token_embedding, position_embedding } = p.text_model.embeddings;
    const positions = position_embedding.weight.slice([0, 0], [tokens, -1]);
    const bias = mask && tf.sub(1, mask.toFloat()).mul(-1e9).reshape<tf.Tensor4D>([texts, 1, 1, tokens]);
    return encoderStates(p.text_model.encoder.layers, embedding(token_embedding, ids).add(positions), config, { causal: true, bias });
  });
}

/** The last states, normalised: what Stable Diffusion is conditioned on. ids int32 [texts, tokens] -> [texts, tokens, dim] */
export function clipTextStates(p: ClipTextParams, ids: tf.Tensor2D, config: ClipTextConfig, mask?: tf.Tensor2D): tf.Tensor3D {
  return tf.tidy(() => layerNorm(p.text_model.final_layer_norm, clipTextHiddenStates(p, ids, config, mask).at(-1)!, config.normEps));
}

/** The normalised state at the end of each text. states [texts, tokens, dim], ids int32 [texts, tokens] -> [texts, dim] */
export function poolText(states: tf.Tensor3D, ids: tf.Tensor2D, { endToken }: ClipTextConfig): tf.Tensor2D {
  const { texts, tokens, dim } = shapes({ states: [states, 'texts tokens dim'], ids: [ids, 'texts tokens'] });
  return tf.tidy(() => {
    const ends = (endToken === 'highest' ? ids : ids.equal(endToken).toInt()).argMax(1); // the first, if there are several
    return tf.matMul(tf.oneHot(ends, tokens).toFloat().expandDims(1), states).reshape<tf.Tensor2D>([texts, dim]);
  });
}

/** ids int32 [texts, tokens] -> [texts, dim] */
export function clipTextPooled(p: ClipTextParams, ids: tf.Tensor2D, config: ClipTextConfig, mask?: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => poolText(clipTextStates(p, ids, config, mask), ids, config));
}
