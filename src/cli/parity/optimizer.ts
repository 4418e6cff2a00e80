import * as tf from '@tensorflow/tfjs';
import { adamw, clipFactor, globalNorm, valueAndGrads, type Moments } from '../../core/ops/index.js';
import { multiplier, type Schedule } from '../../train/schedules.js';
import type { Fixture } from './fixture.js';
import type { Kind } from './kinds.js';
import type { Report } from './report.js';

interface Case {
  betas: [number, number];
  clip: number | null;
  eps: number;
  lr: number;
  warmup: number;
  weight_decay: number;
}

/** `torch.optim.AdamW`, `clip_grad_norm_` and the schedules of transformers. */
export const optimizerKind: Kind = {
  name: 'optimizer',
  matches: ({ meta }) => meta.class?.startsWith('torch.optim.AdamW') ?? false,
  async run(fixture, report) {
    for (const [name, settings] of Object.entries(fixture.json('cases.json') as Record<string, Case>)) await descend(name, settings, fixture, report);
    await clipped(fixture, report);
    await schedules(fixture, report);
  },
};

async function descend(name: string, settings: Case, fixture: Fixture, report: Report) {
  const [A, B, targetW, targetB] = ['A', 'B', 'target_w', 'target_b'].map((key) => fixture.input(key));
  const steps = fixture.expected(`${name}.loss`).shape[0];
  const start = [fixture.input('w0'), fixture.input('b0')];
  const [w, b] = start.map((value) => tf.variable(value));
  const moments: Moments[] = [w, b].map((p) => ({ first: tf.variable(tf.zerosLike(p)), second: tf.variable(tf.zerosLike(p)) }));
  const halfSquare = (matrix: tf.Tensor, difference: tf.Tensor) => tf.matMul(matrix as tf.Tensor2D, difference.reshape([difference.size, 1])).square().sum().mul(0.5);
  const loss = () => tf.tidy(() => halfSquare(A, w.sub(targetW)).add<tf.Scalar>(halfSquare(B, b.sub(targetB))));

  const seen: Record<'loss' | 'grad_norm' | 'lr' | 'w' | 'b', number[]> = { loss: [], grad_norm: [], lr: [], w: [], b: [] };
  for (let step = 0; step < steps; step++) {
    const { value, grads } = valueAndGrads(loss, new Map([['w', w], ['b', b]]));
    const norm = globalNorm(grads.values());
    const gradientScale = clipFactor((await norm.data())[0], settings.clip ?? Infinity);
    const lr = settings.lr * multiplier('cosine', step, settings.warmup, steps);
    const [beta1, beta2] = settings.betas;
    [w, b].forEach((p, i) => {
      const weightDecay = p === w ? settings.weight_decay : 0;
      adamw([p], [grads.get(i === 0 ? 'w' : 'b')!], [moments[i]], { learningRate: lr, beta1, beta2, eps: settings.eps, weightDecay, step: step + 1, gradientScale });
    });
    seen.loss.push((await value.data())[0]);
    seen.grad_norm.push((await norm.data())[0]);
    seen.lr.push(lr);
    seen.w.push(...(await w.data()));
    seen.b.push(...(await b.data()));
    tf.dispose([value, norm, ...grads.values()]);
  }
  for (const [key, values] of Object.entries(seen)) {
    const shape = key === 'w' ? [steps, ...w.shape] : key === 'b' ? [steps, ...b.shape] : [steps];
    await report.compare(`${name}.${key}`, { shape, values });
  }
  await report.compare(`${name}.exp_avg_w`, moments[0].first);
  await report.compare(`${name}.exp_avg_sq_w`, moments[0].second);
  tf.dispose([w, b, ...moments.flatMap(({ first, second }) => [first, second])]);
}

async function clipped(fixture: Fixture, report: Report) {
  for (const [name, maxNorm] of [['tight', 0.5], ['loose', 1000]] as const) {
    if (!fixture.wants(`clip.${name}`)) continue;
    const grads = new Map([['w', fixture.input('w0')], ['b', fixture.input('b0')]]);
    const norm = globalNorm(grads.values());
    const factor = clipFactor((await norm.data())[0], maxNorm);
    await report.compare(`clip.${name}.total_norm`, norm);
    await report.compare(`clip.${name}.grad_w`, grads.get('w')!.mul(factor));
    await report.compare(`clip.${name}.grad_b`, grads.get('b')!.mul(factor));
  }
}

/** Multipliers, named such as `schedule.cosine_w7_n40`: 7 steps of warm-up, 40 in all. */
async function schedules(fixture: Fixture, report: Report) {
  for (const [name, { shape }] of fixture.outputs) {
    const [, form, warmup, total] = /^schedule\.([a-z]+)_w(\d+)(?:_n(\d+))?$/.exec(name) ?? [];
    if (!form) continue;
    const values = Array.from({ length: shape[0] }, (_, step) => multiplier(form as Schedule['shape'], step, Number(warmup), Number(total ?? shape[0])));
    await report.compare(name, { shape, values });
  }
}
