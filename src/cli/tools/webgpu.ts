import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { useBackend } from '../../core/backend.js';
import { adamw, attention, conv2d, crossEntropy, embedding, gatedSplit, groupNorm, layerNorm, linear, linears, rmsNorm, upsampleNearest, valueAndGrads } from '../../core/ops/index.js';
import { initialize } from '../../core/params.js';
import { random } from '../../core/random.js';
import { dreamSpec } from '../../dreamllm/model.js';
import { preset } from '../../dreamllm/presets.js';
import { ropeAngles } from '../../nn/index.js';
import { Training, trainStep, type StepMetrics } from '../../train/loop.js';
import { stageSettings } from '../../train/overrides.js';
import { generatedSources } from '../../train/sources.js';
import { nano } from '../../train/stages.js';
import { loopSettings, stageTask } from '../../train/train-stage.js';

/** Values by name: results and gradients. */
type Values = Record<string, Float32Array>;

const draw = (shape: number[], name: string, scale = 1) => tf.tensor(random(0, 'webgpu', name).normals(shape.reduce((a, b) => a * b, 1)).map((x) => x * scale), shape);
/** A decoder layer with a language loss, as LLaMA's. */
function languageModel(p: Record<string, tf.Tensor>): tf.Scalar {
  let x = embedding(p.table, tf.tensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 3], [2, 5], 'int32')) as tf.Tensor3D;
  const [q, k, v] = linears(rmsNorm(x, p.norm, 1e-6), [{ weight: p.q }, { weight: p.k }, { weight: p.v }]);
  x = linear(attention(q, k, v, { numHeads: 2, causal: true, rope: ropeAngles([0, 1, 2, 3, 4], { headDim: 4, theta: 100 }) }), p.o, undefined, x);
  x = linear(gatedSplit(linear(rmsNorm(x, p.norm, 1e-6), p.up), 'silu', 'gate-value'), p.down, undefined, x);
  const labels = tf.tensor1d([1, 4, -100, 5, 9, 2, 6, -100, 3, 5], 'int32');
  return crossEntropy(linear(x, p.table).reshape([10, 11]), labels).mean();
}
const languageShapes = { table: [11, 8], norm: [8], q: [8, 8], k: [8, 8], v: [8, 8], o: [8, 8], up: [24, 8], down: [8, 12] };

/** A residual block, cross attention and both changes of size on two images, as the U-Net's. */
function denoiser(p: Record<string, tf.Tensor>): tf.Scalar {
  const x = p.image as tf.Tensor4D;
  const same = { padding: [1, 1, 1, 1] } as const;
  let h = conv2d(groupNorm(x, p.g, p.b, 2, 1e-5, true), p.c1, p.b, { ...same, residual: x });
  h = conv2d(h, p.c2, p.b, { ...same, stride: 2 });
  const tokens = layerNorm(h.reshape<tf.Tensor3D>([2, 9, 6]), p.g, p.b, 1e-5);
  const [k, v] = linears(p.context as tf.Tensor3D, [{ weight: p.k }, { weight: p.v }]);
  const mixed = linear(attention(linear(tokens, p.q), k, v, { numHeads: 2 }), p.o, p.b, h.reshape<tf.Tensor3D>([2, 9, 6]));
  const up = upsampleNearest(mixed.reshape([2, 3, 3, 6]), 6, 6);
  return conv2d(up, p.c1, p.b, same).sub(x).square().mean();
}
const denoiserShapes = { image: [2, 6, 6, 6], g: [6], b: [6], c1: [3, 3, 6, 6], c2: [3, 3, 6, 6], context: [2, 4, 10], q: [6, 6], k: [6, 10], v: [6, 10], o: [6, 6] };

/** The loss, all gradients, and the parameters after a step of AdamW. */
async function learn(shapes: Record<string, number[]>, loss: (p: Record<string, tf.Tensor>) => tf.Scalar): Promise<Values> {
  const p = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, tf.variable(draw(shape, name, 0.5))]));
  const { value, grads } = valueAndGrads(() => loss(p), new Map(Object.entries(p)));
  const found: Values = { loss: (await value.data()) as Float32Array };
  for (const [name, grad] of grads) found[`gradient of ${name}`] = (await grad.data()) as Float32Array;
  const variables = Object.values(p);
  const moments = variables.map((variable) => ({ first: tf.variable(tf.zerosLike(variable)), second: tf.variable(tf.zerosLike(variable)) }));
  // A large eps: with the usual one the first step is the gradient's sign, which rounding decides where it is near 0.
  adamw(variables, [...grads.values()], moments, { learningRate: 0.1, beta1: 0.9, beta2: 0.999, eps: 0.1, weightDecay: 0.01, step: 1 });
  for (const [name, variable] of Object.entries(p)) found[`${name} after a step`] = (await variable.data()) as Float32Array;
  tf.dispose([value, ...grads.values(), ...variables, ...moments.flatMap(({ first, second }) => [first, second])]);
  return found;
}

describe('webgpu', () => {
  before(async () => {
    const { engine, tfjsName } = await useBackend('webgpu');
    console.log(`Computing on ${engine}.`);
    assert.equal(tfjsName, 'webgpu');
  });
  // Dawn keeps the process alive.
  after(() => setTimeout(() => process.exit(), 200));

  for (const [name, shapes, loss] of [['a language model', languageShapes, languageModel], ['a denoiser', denoiserShapes, denoiser]] as const) {
    test(`trains ${name} as plain JavaScript does: loss, every gradient, a step of AdamW`, async () => {
      await tf.setBackend('webgpu');
      const found = await learn(shapes, loss);
      await tf.setBackend('cpu');
      const expected = await learn(shapes, loss);
      let worst = 0;
      for (const [key, values] of Object.entries(expected)) {
        const scale = Math.max(1e-2, ...values.map(Math.abs));
        assert.equal(found[key].length, values.length, key);
        values.forEach((value, i) => {
          const error = Math.abs(found[key][i] - value) / scale;
          worst = Math.max(worst, error);
          assert.ok(error < 1e-4, `${key}[${i}] is ${found[key][i]}, expected ${value}`);
        });
      }
      console.log(`${name}: worst relative difference ${worst.toExponential(1)} over ${Object.keys(expected).length} tensors`);
    });
  }

  test('adds up more tensors than a shader takes buffers', async () => {
    await tf.setBackend('webgpu');
    const [sum] = await tf.addN(Array.from({ length: 70 }, (_, i) => tf.tensor1d([i]))).data();
    assert.equal(sum, (69 * 70) / 2);
  });

  test('takes steps of stage II with the micro model as plain JavaScript does', async () => {
    await tf.setBackend('webgpu');
    const found = await stageSteps(2);
    await tf.setBackend('cpu');
    const expected = await stageSteps(2);
    expected.forEach((metrics, step) => {
      for (const [name, value] of Object.entries(metrics)) {
        assert.ok(Math.abs(found[step][name] - value) <= 1e-3 * Math.max(1e-3, Math.abs(value)), `step ${step}: ${name} is ${found[step][name]}, expected ${value}`);
      }
    });
    console.log(`stage II: losses ${found.map(({ loss }) => loss.toFixed(5)).join(', ')}`);
  });
});

/** Losses and gradient norms of whole steps: CLIP, autoencoder, language model and U-Net. */
async function stageSteps(count: number): Promise<StepMetrics[]> {
  const settings = { ...stageSettings(nano['i-gpt']), maxTokens: 128, microBatchSize: 2 };
  const config = { ...preset('micro'), maxTokens: 128 };
  const params = initialize(dreamSpec(config), 0);
  const training = new Training(stageTask(params, config, 'micro', settings, generatedSources(settings.data, settings.seed)), loopSettings(settings));
  const seen: StepMetrics[] = [];
  for (; training.step < count; training.step++) seen.push(await trainStep(training));
  training.dispose();
  tf.dispose(params as never);
  return seen;
}
