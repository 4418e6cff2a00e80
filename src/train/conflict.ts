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
export function gradientConflict(params: DreamParams, config: DreamConfig, batch: EncodedBatch, draws: DiffusionDraws, objective: Objective): Record<string, number> {
  const variables = select(params, ['model.layers']);
  const gradientOf = (part: 'lm' | 'diffusion') => {
    const { value, grads } = valueAndGrads(() => dreamLoss(params, config, batch, draws, objective)[part], variables, { allowUnused: true });
    value.dispose();
    return grads;
  };
  const [lm, diffusion] = [gradientOf('lm'), gradientOf('diffusion')];
  const sums = new Map<string, { dot: number; lm: number; diffusion: number }>();
  for (const [key, a] of lm) {
    const b = diffusion.get(key)!;
    const products = tf.tidy(() => [a.mul(b).sum(), a.square().sum(), b.square().sum()].map((sum) => sum.dataSync()[0]));
    for (const group of [key.split('.').slice(1, 3).join('.'), 'layers']) {
      const sum = sums.get(group) ?? { dot: 0, lm: 0, diffusion: 0 };
      sums.set(group, { dot: sum.dot + products[0], lm: sum.lm + products[1], diffusion: sum.diffusion + products[2] });
    }
  }
  tf.dispose([...lm.values(), ...diffusion.values()]);
  const cosines = [...sums].map(([group, { dot, lm: a, diffusion: b }]) => [`conflict.${group}`, a > 0 && b > 0 ? dot / Math.sqrt(a * b) : 0]);
  return Object.fromEntries(cosines) as Record<string, number>;
}
