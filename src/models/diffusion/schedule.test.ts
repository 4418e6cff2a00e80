import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { random } from '../../core/random.js';
import { addNoise, noiseSchedule, predictionTarget, snr, stableDiffusionSchedule, velocity, type ScheduleConfig } from './schedule.js';

const close = (actual: number, expected: number, relative: number) =>
  assert.ok(Math.abs(actual - expected) <= relative * Math.abs(expected), `${actual} instead of ${expected}`);

const tensor = (name: string, shape: [number, number, number, number]) =>
  tf.tensor4d(random(0, name).normals(shape.reduce((a, b) => a * b)), shape);

describe('the schedule of Stable Diffusion', () => {
  const schedule = noiseSchedule(stableDiffusionSchedule);

  // t, beta, alphaBar, √alphaBar, √(1 - alphaBar), snr: computed in float64 from the definition.
  const rows = [
    [0, 0.00085, 0.99915, 0.999575, 0.029155, 1175.47],
    [1, 0.0008547, 0.99829603, 0.999148, 0.041279, 585.864],
    [100, 0.00138397, 0.89422348, 0.945634, 0.325233, 8.45389],
    [250, 0.00242776, 0.67379263, 0.820849, 0.571146, 2.06553],
    [500, 0.00481495, 0.27633268, 0.525674, 0.850686, 0.38185],
    [750, 0.00801158, 0.05616985, 0.237002, 0.971509, 0.0595127],
    [895, 0.0102365, 0.0149019, 0.122073, 0.992521, 0.0151273],
    [981, 0.01168476, 0.0057755, 0.075997, 0.997108, 0.00580905],
    [991, 0.01185937, 0.00513007, 0.071624, 0.997432, 0.00515652],
    [999, 0.012, 0.0046601, 0.068265, 0.997667, 0.00468192],
  ];

  test('has the published values', () => {
    for (const [t, beta, alphaBar, signal, deviation, ratio] of rows) {
      close(schedule.betas[t], beta, 5e-6);
      close(schedule.alphaBars[t], alphaBar, 1e-6);
      close(Math.sqrt(schedule.alphaBars[t]), signal, 1e-5);
      close(Math.sqrt(1 - schedule.alphaBars[t]), deviation, 2e-5);
      close(snr(schedule, t), ratio, 1e-5);
    }
  });

  test('spans noise levels from 0.0291672 to 14.6146412', () => {
    const sigma = (t: number) => 1 / Math.sqrt(snr(schedule, t));
    close(sigma(0), 0.0291672, 2e-6);
    close(sigma(999), 14.6146412, 1e-8);
  });
});

describe('noiseSchedule', () => {
  const alphaBars = (changes: Partial<ScheduleConfig>) => noiseSchedule({ ...stableDiffusionSchedule, ...changes }).alphaBars;

  test('knows linear and squared-cosine betas', () => {
    const linear = alphaBars({ betaSchedule: 'linear', betaStart: 1e-4, betaEnd: 0.02 });
    close(linear[0], 0.9999, 1e-12);
    close(linear[500], 0.0777966584, 1e-8);
    close(linear[999], 4.03582977e-5, 1e-8);
    const cosine = alphaBars({ betaSchedule: 'squaredcos_cap_v2' });
    close(cosine[0], 0.999958716, 1e-9);
    close(cosine[500], 0.492285172, 1e-8);
    close(cosine[999], 2.42876691e-9, 1e-8);
  });

  test('rescales to zero terminal signal and keeps the first level', () => {
    const rescaled = alphaBars({ rescaleBetasZeroSnr: true });
    close(rescaled[0], 0.99915, 1e-12);
    close(rescaled[500], 0.2410187828, 1e-9);
    assert.ok(Math.abs(rescaled[999]) < 1e-15);
  });

  test('takes explicit betas and counts them', () => {
    assert.deepEqual([...noiseSchedule({ ...stableDiffusionSchedule, numTrainTimesteps: 2, trainedBetas: [0.5, 0.5] }).alphaBars], [0.5, 0.25]);
    assert.throws(() => alphaBars({ trainedBetas: [0.1] }), /Expected 1000 trained betas.*found 1/);
  });
});

describe('noised latents', () => {
  const schedule = noiseSchedule(stableDiffusionSchedule);
  const original = tensor('original', [2, 2, 2, 3]);
  const noise = tensor('noise', [2, 2, 2, 3]);

  test('mix signal and noise by the time step of their image', async () => {
    const noisy = addNoise(schedule, original, noise, [0, 999]);
    const [x, e, n] = [await original.data(), await noise.data(), await noisy.data()];
    n.forEach((value, i) => {
      const alphaBar = schedule.alphaBars[i < 12 ? 0 : 999];
      assert.ok(Math.abs(value - (Math.sqrt(alphaBar) * x[i] + Math.sqrt(1 - alphaBar) * e[i])) < 1e-6);
    });
    noisy.dispose();
  });

  test('are turned by a right angle into the velocity', async () => {
    // x_t = cos a · x_0 + sin a · noise and v = cos a · noise - sin a · x_0, so |x_t|² + |v|² = |x_0|² + |noise|².
    const energy = tf.tidy(() => {
      const square = (t: tf.Tensor) => t.square().sum();
      const noisy = addNoise(schedule, original, noise, [300, 700]);
      return square(noisy).add(square(velocity(schedule, original, noise, [300, 700]))).sub(square(original)).sub(square(noise));
    });
    assert.ok(Math.abs((await energy.data())[0]) < 1e-4);
    energy.dispose();
  });

  test('are answered with what the prediction type asks for', async () => {
    const target = async (predictionType: ScheduleConfig['predictionType']) => {
      const t = predictionTarget({ ...schedule, predictionType }, original, noise, [300, 700]);
      const values = await t.data();
      t.dispose();
      return values;
    };
    assert.deepEqual(await target('epsilon'), await noise.data());
    assert.deepEqual(await target('sample'), await original.data());
    const v = velocity(schedule, original, noise, [300, 700]);
    assert.deepEqual(await target('v_prediction'), await v.data());
    v.dispose();
  });

  test('need one valid time step an image', () => {
    assert.throws(() => addNoise(schedule, original, noise, [0]), /one time step for each of 2 images, found 1/);
    assert.throws(() => addNoise(schedule, original, noise, [0, 1000]), /from 0 to 999, found 1000/);
  });
});
