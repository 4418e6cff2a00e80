import * as tf from '@tensorflow/tfjs';
import { valueAndGrads } from '../core/ops/index.js';
import { select } from '../core/params.js';
import type { DreamConfig, Objective } from '../dreamllm/config.js';
import type { EncodedBatch } from '../dreamllm/forward.js';
import { dreamLoss, type DiffusionDraws } from '../dreamllm/loss.js';
import type { DreamParams } from '../dreamllm/model.js';

/**
 * Whether the two objectives pull the language model the same way: the cosine between the gradients of the language and the diffusion loss, for each
 * decoder layer and for all of them. 1: the same direction, 0: unrelated, below 0: what helps one harms the other (Yu et al. 2020, section 2.1).
 */
export async function gradientConflict(params: DreamParams, config: DreamConfig, batch: EncodedBatch, draws: DiffusionDraws, objective: Objective): Promise<Record<string, number>> {
  const variables = select(params, ['model.layers']);
  const gradientOf = (part: 'lm' | 'diffusion') => {
    const { value, grads } = valueAndGrads(() => dreamLoss(params, config, batch, draws, objective)[part], variables, { allowUnused: true });
    value.dispose();
    return grads;
  };
  const [lm, diffusion] = [gradientOf('lm'), gradientOf('diffusion')];
  const cosines = await layerCosines(lm, diffusion);
  tf.dispose([...lm.values(), ...diffusion.values()]);
  return Object.fromEntries([...cosines].map(([group, cosine]) => [`conflict.${group}`, cosine]));
}

/** Cosines between two gradients of the same parameters `model.layers.N.…`, for each layer (`layers.N`) and for all (`layers`); 0 where one of them is zero. */
export async function layerCosines(first: ReadonlyMap<string, tf.Tensor>, second: ReadonlyMap<string, tf.Tensor>): Promise<Map<string, number>> {
  const sums = new Map<string, { dot: number; first: number; second: number }>();
  for (const [key, a] of first) {
    const b = second.get(key)!;
    const products = tf.tidy(() => tf.stack([a.mul(b).sum(), a.square().sum(), b.square().sum()]));
    const [dot, aa, bb] = await products.data();
    products.dispose();
    for (const group of [key.split('.').slice(1, 3).join('.'), 'layers']) {
      const sum = sums.get(group) ?? { dot: 0, first: 0, second: 0 };
      sums.set(group, { dot: sum.dot + dot, first: sum.first + aa, second: sum.second + bb });
    }
  }
  return new Map([...sums].map(([group, sum]) => [group, sum.first > 0 && sum.second > 0 ? sum.dot / Math.sqrt(sum.first * sum.second) : 0]));
}
