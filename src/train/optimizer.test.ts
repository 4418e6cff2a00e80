import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { clipFactor, globalNorm, valueAndGrads } from '../core/ops/index.js';
import { packageRoot } from '../core/process.js';
import { asFloat32, readSafetensors, type StoredTensor } from '../core/safetensors.js';
import { Ema } from './ema.js';
import { Optimizer } from './optimizer.js';
import { learningRate, multiplier, warmupCosine } from './schedules.js';

const folder = join(packageRoot(), 'data/fixtures/optimizer');
const { tensors: inputs } = readSafetensors(join(folder, 'inputs.safetensors'));
const { tensors: expected } = readSafetensors(join(folder, 'outputs.safetensors'));
const { outputs } = JSON.parse(readFileSync(join(folder, 'meta.json'), 'utf8')) as { outputs: Record<string, { tol: number }> };
const cases = JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8')) as Record<
  string,
  { betas: [number, number]; clip: number | null; eps: number; lr: number; warmup: number; weight_decay: number }
>;

const tensor = ({ values, shape }: StoredTensor) => tf.tensor(asFloat32(values), shape);

function assertClose(found: ArrayLike<number>, key: string, tolerance = outputs[key].tol): void {
  const { values } = expected.get(key)!;
  assert.equal(found.length, values.length, key);
  const worst = Math.max(...Array.from(found, (value, i) => Math.abs(value - Number(values[i]))));
  assert.ok(worst <= tolerance, `${key}: differs by ${worst}, allowed ${tolerance}`);
}

describe('the optimizer', () => {
  before(async () => {
    await tf.setBackend('cpu');
  });

  for (const [name, { betas, clip, eps, lr, warmup, weight_decay }] of Object.entries(cases)) {
    test(`takes the twenty steps of PyTorch in case ${name}`, () => {
      const w = tf.variable(tensor(inputs.get('w0')!));
      const b = tf.variable(tensor(inputs.get('b0')!));
      const [A, targetW, B, targetB] = ['A', 'target_w', 'B', 'target_b'].map((key) => tensor(inputs.get(key)!));
      const settings = { beta1: betas[0], beta2: betas[1], eps };
      // The fixture decays w alone: one optimizer a group.
      const decayed = new Optimizer(new Map([['w', w]]), { ...settings, weightDecay: weight_decay });
      const plain = new Optimizer(new Map([['b', b]]), { ...settings, weightDecay: 0 });
      const seen = { loss: [] as number[], grad_norm: [] as number[], lr: [] as number[], w: [] as number[], b: [] as number[] };
      for (let step = 0; step < 20; step++) {
        const { value, grads } = valueAndGrads(
          () =>
            tf.add<tf.Scalar>(
              tf.matMul(A as tf.Tensor2D, w.sub(targetW).reshape([-1, 1])).square().sum().mul(0.5),
              tf.matMul(B as tf.Tensor2D, b.sub(targetB).reshape([-1, 1])).square().sum().mul(0.5),
            ),
          new Map([['w', w], ['b', b]]),
        );
        const rate = lr * multiplier('cosine', step, warmup, 20);
        seen.loss.push(value.dataSync()[0]);
        const norm = globalNorm(grads.values()).dataSync()[0];
        const scale = clipFactor(norm, clip ?? Infinity);
        seen.grad_norm.push(norm);
        seen.lr.push(rate);
        decayed.update(grads, rate, scale);
        plain.update(grads, rate, scale);
        seen.w.push(...w.dataSync());
        seen.b.push(...b.dataSync());
      }
      for (const [key, values] of Object.entries(seen)) assertClose(values, `${name}.${key}`);
      assertClose(decayed.state.get('first.w')!.dataSync(), `${name}.exp_avg_w`);
      assertClose(decayed.state.get('second.w')!.dataSync(), `${name}.exp_avg_sq_w`);
    });
  }

  test('is given the learning rates of the transformers library', () => {
    const schedules = { cosine_w7_n40: ['cosine', 7, 40], cosine_w0_n25: ['cosine', 0, 25], linear_w4_n30: ['linear', 4, 30], constant_w5: ['constant', 5, 45] } as const;
    for (const [name, [shape, warmup, steps]] of Object.entries(schedules)) {
      assertClose(Array.from({ length: 45 }, (_, step) => multiplier(shape, step, warmup, steps)), `schedule.${name}`);
    }
    assert.equal(learningRate(warmupCosine(2e-3, 0.003), 1, 1000), (2e-3 * 1) / 3); // three warm-up steps: 0.003 of 1000
  });

  test('works on memory of its own, so that a moving average keeps its values', () => {
    const parameter = tf.variable(tf.tensor1d([1, 2]));
    const parameters = new Map([['p', parameter]]);
    const ema = new Ema(parameters, 0.5);
    new Optimizer(parameters).update(new Map([['p', tf.tensor1d([1, 1])]]), 0.1);
    assert.deepEqual([...ema.averages.get('p')!.dataSync()], [1, 2]);
    ema.swap();
    assert.deepEqual([...parameter.dataSync()], [1, 2]);
    ema.swap();
    ema.update(); // the first decay is 2 / 11
    const [moved] = parameter.dataSync();
    assert.ok(Math.abs(ema.averages.get('p')!.dataSync()[0] - (moved + (2 / 11) * (1 - moved))) < 1e-6);
  });
});
