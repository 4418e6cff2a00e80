import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { random } from '../../core/random.js';
import { ddimVariance } from './ddim.js';
import { noiseSchedule, stableDiffusionSchedule } from './schedule.js';
import { emptyState, limitOriginal, type Scheduler, type SolverState } from './scheduler.js';
import { dreamSampler, scheduler, schedulerConfig, type SchedulerConfig } from './schedulers.js';

const shape: [number, number, number, number] = [1, 3, 2, 4];
const tensor = (...name: (string | number)[]) => tf.tensor4d(random(0, ...name).normals(24), shape);

const common = { ...stableDiffusionSchedule, timestepSpacing: 'leading', stepsOffset: 1 } as const;
const samplers: Record<string, SchedulerConfig> = {
  ddpm: dreamSampler,
  ddim: { kind: 'ddim', ...common, eta: 0, setAlphaToOne: true, limit: { kind: 'none' } },
  'ddim with noise': { kind: 'ddim', ...common, eta: 1, setAlphaToOne: true, limit: { kind: 'none' } },
  pndm: { kind: 'pndm', ...common, setAlphaToOne: true, skipPrkSteps: true },
  'pndm with Runge-Kutta': { kind: 'pndm', ...common, setAlphaToOne: true, skipPrkSteps: false },
  euler: { kind: 'euler', ...common, useKarrasSigmas: false },
  'euler on Karras noise levels': { kind: 'euler', ...common, useKarrasSigmas: true },
  'dpm-solver++': {
    kind: 'dpm-solver', ...common, useKarrasSigmas: false, solverOrder: 2, algorithm: 'dpmsolver++', solverType: 'midpoint', lowerOrderFinal: true,
    eulerAtFinal: false, limit: { kind: 'none' },
  },
  'dpm-solver, order 3': {
    kind: 'dpm-solver', ...common, useKarrasSigmas: false, solverOrder: 3, algorithm: 'dpmsolver', solverType: 'midpoint', lowerOrderFinal: true,
    eulerAtFinal: false, limit: { kind: 'none' },
  },
  'sde-dpm-solver++': {
    kind: 'dpm-solver', ...common, useKarrasSigmas: true, solverOrder: 2, algorithm: 'sde-dpmsolver++', solverType: 'heun', lowerOrderFinal: true,
    eulerAtFinal: false, limit: { kind: 'none' },
  },
};

/** Samples with `predict` and returns the last latents. */
function run(s: Scheduler, start: tf.Tensor4D, predict: (x: tf.Tensor4D, index: number) => tf.Tensor4D): tf.Tensor4D {
  let latents = start.mul<tf.Tensor4D>(s.initNoiseSigma);
  let state: SolverState = emptyState;
  s.timesteps.forEach((_, index) => {
    const noise = s.needsNoise(index) ? tensor('step', index) : undefined;
    const prediction = tf.tidy(() => predict(s.scaleInput(latents, index), index));
    const next = s.step({ prediction, latents, index, state, noise });
    tf.dispose([latents, state, prediction, noise as tf.Tensor, next.original as tf.Tensor]);
    ({ latents, state } = next);
  });
  tf.dispose(state);
  return latents;
}

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>) => Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i])));

describe('every sampler', () => {
  const target = tensor('target');
  const schedule = noiseSchedule(stableDiffusionSchedule);

  for (const [name, config] of Object.entries(samplers)) {
    test(`finds the only picture that the network believes in: ${name}`, async () => {
      const s = scheduler(config, 20);
      const start = tensor('start');
      // The true noise for a single clean picture. Between time steps (Karras) the signal level follows from the noise level.
      const end = run(s, start, (x, index) => {
        const alphaBar = s.sigmas ? 1 / (s.sigmas[index] ** 2 + 1) : schedule.alphaBars[s.timesteps[index]];
        return x.sub<tf.Tensor4D>(target.mul(Math.sqrt(alphaBar))).div(Math.sqrt(1 - alphaBar));
      });
      // Solvers that stop at time step 0, not at the clean picture, keep noise of deviation 0.029.
      const tolerance = config.kind === 'dpm-solver' ? 0.12 : 2e-3;
      assert.ok(largestDifference(await end.data(), await target.data()) < tolerance);
      tf.dispose([start, end]);
    });

    test(`frees what it makes: ${name}`, () => {
      const s = scheduler(config, 8);
      const start = tensor('start');
      const before = tf.memory().numTensors;
      run(s, start, (x) => x.mul(0.5)).dispose();
      assert.equal(tf.memory().numTensors, before);
      start.dispose();
    });
  }

  test('refuses an impossible number of steps', () => {
    assert.throws(() => scheduler(dreamSampler, 0), /from 1 to 1000, found 0/);
    assert.throws(() => scheduler(dreamSampler, 1001), /found 1001/);
    assert.throws(() => scheduler(dreamSampler, 2.5), /found 2.5/);
    assert.throws(() => scheduler(samplers['pndm with Runge-Kutta'], 3), /4 steps or more, found 3/);
  });

  test('says when it lacks noise', () => {
    const x = tensor('x');
    assert.throws(() => scheduler(dreamSampler, 5).step({ prediction: x, latents: x, index: 0, state: emptyState }), /draws noise: pass `noise`/);
    x.dispose();
  });
});

describe('the sampler of DreamLLM', () => {
  test('visits the time steps of the released code', () => {
    const first = (steps: number) => scheduler(dreamSampler, steps).timesteps[0];
    assert.deepEqual([25, 50, 100, 150, 250].map(first), [961, 981, 991, 895, 997]);
    for (const steps of [25, 50, 100, 150, 250]) {
      const { timesteps } = scheduler(dreamSampler, steps);
      assert.equal(timesteps.length, steps);
      assert.equal(timesteps[steps - 1], 1);
      assert.equal(timesteps[0] - timesteps[1], Math.floor(1000 / steps));
    }
  });

  test('takes one step as computed by hand', async () => {
    const s = scheduler(dreamSampler, 50);
    const [latents, prediction, noise] = [tensor('latents'), tensor('prediction'), tensor('noise')];
    const { latents: next, original } = s.step({ prediction, latents, index: 24, state: emptyState, noise });
    assert.equal(s.timesteps[24], 501);

    const { alphaBars } = s.schedule;
    const [a, b] = [alphaBars[501], alphaBars[481]];
    const alpha = a / b;
    const [x, e, z, got] = [await latents.data(), await prediction.data(), await noise.data(), await next.data()];
    got.forEach((value, i) => {
      const x0 = (x[i] - Math.sqrt(1 - a) * e[i]) / Math.sqrt(a);
      const mean = ((Math.sqrt(b) * (1 - alpha)) / (1 - a)) * x0 + ((Math.sqrt(alpha) * (1 - b)) / (1 - a)) * x[i];
      const variance = ((1 - b) / (1 - a)) * (1 - alpha);
      assert.ok(Math.abs(value - (mean + Math.sqrt(variance) * z[i])) < 1e-5);
    });
    tf.dispose([latents, prediction, noise, next, original!]);
  });

  test('adds next to no noise in its last step', async () => {
    const s = scheduler(dreamSampler, 50);
    const [latents, prediction, noise] = [tensor('latents'), tensor('prediction'), tensor('noise')];
    assert.equal(s.needsNoise(49), true);
    const silent = s.step({ prediction, latents, index: 49, state: emptyState, noise: tf.zerosLike(noise) });
    const loud = s.step({ prediction, latents, index: 49, state: emptyState, noise });
    assert.ok(largestDifference(await silent.latents.data(), await loud.latents.data()) < 1e-6);
    tf.dispose([latents, prediction, noise, silent, loud]);
  });
});

describe('DDIM', () => {
  const config: SchedulerConfig = {
    kind: 'ddim', ...stableDiffusionSchedule, betaSchedule: 'linear', betaStart: 1e-4, betaEnd: 0.02, timestepSpacing: 'leading', stepsOffset: 0, eta: 0,
    setAlphaToOne: true, limit: { kind: 'clip', range: 1 },
  };

  test('reproduces the full loop of the diffusers test suite', async () => {
    // tests/schedulers/test_scheduler_ddim.py: sum 172.0067, mean 0.223967 for the model x · t / (t + 1).
    const s = scheduler(config, 10);
    const start = tf.tensor4d(Float32Array.from({ length: 768 }, (_, i) => i / 768), [4, 8, 8, 3]);
    const end = run(s, start, (x, index) => x.mul(s.timesteps[index] / (s.timesteps[index] + 1)));
    const sum = [...(await end.data())].reduce((a, b) => a + Math.abs(b), 0);
    assert.ok(Math.abs(sum - 172.0067) < 1e-2 && Math.abs(sum / 768 - 0.223967) < 1e-3, `${sum}`);
    tf.dispose([start, end]);
  });

  test('has the variances of the diffusers test suite', () => {
    const { alphaBars } = noiseSchedule(config);
    const variance = (from: number, to: number) => ddimVariance(alphaBars[from], alphaBars[to]);
    const pairs: [number, number, number][] = [[420, 400, 0.14771], [980, 960, 0.3246], [487, 486, 0.00979], [999, 998, 0.02]];
    for (const [from, to, expected] of pairs) assert.ok(Math.abs(variance(from, to) - expected) < 1e-5);
  });

  test('shifts its time steps by the offset', () => {
    assert.deepEqual(scheduler({ ...config, stepsOffset: 1 }, 5).timesteps, [801, 601, 401, 201, 1]);
  });

  test('with eta 1 is ancestral sampling', async () => {
    const [latents, prediction, noise] = [tensor('latents'), tensor('prediction'), tensor('noise')];
    const step = (c: SchedulerConfig) => scheduler(c, 50).step({ prediction, latents, index: 10, state: emptyState, noise });
    const [a, b] = [step(samplers['ddim with noise']), step(samplers.ddpm)];
    assert.ok(largestDifference(await a.latents.data(), await b.latents.data()) < 1e-5);
    tf.dispose([latents, prediction, noise, a, b]);
  });
});

describe('DPM-Solver++ of order 1', () => {
  test('is DDIM', async () => {
    const [latents, prediction] = [tensor('latents'), tensor('prediction')];
    const solver = scheduler({ ...samplers['dpm-solver++'], timestepSpacing: 'trailing' } as SchedulerConfig, 10);
    const ddim = scheduler({ ...samplers.ddim, timestepSpacing: 'trailing' } as SchedulerConfig, 10);
    assert.deepEqual(solver.timesteps, ddim.timesteps);
    const [a, b] = [solver, ddim].map((s) => s.step({ prediction, latents, index: 0, state: emptyState })); // the first step has no history
    assert.ok(largestDifference(await a.latents.data(), await b.latents.data()) < 1e-5);
    tf.dispose([latents, prediction, a, b]);
  });
});

describe('limitOriginal', () => {
  const values = [0.5, -4, 1, 2];
  const x = tf.tensor4d(values, [1, 2, 2, 1]);

  test('leaves alone, clips, or shrinks to a quantile of the values', async () => {
    const limited = async (limit: Parameters<typeof limitOriginal>[1]) => [...(await limitOriginal(x, limit).data())];
    assert.deepEqual(await limited({ kind: 'none' }), values);
    assert.deepEqual(await limited({ kind: 'clip', range: 1 }), [0.5, -1, 1, 1]);
    assert.deepEqual(await limited({ kind: 'threshold', quantile: 1, maximum: 10 }), [0.125, -1, 0.25, 0.5]);
    // |x| sorted: 0.5 1 2 4; the quantile 0.5 lies half way between 1 and 2.
    assert.deepEqual((await limited({ kind: 'threshold', quantile: 0.5, maximum: 10 })).map((v) => Math.round(v * 1e6) / 1e6), [0.333333, -1, 0.666667, 1]);
    assert.deepEqual(await limited({ kind: 'threshold', quantile: 1, maximum: 1 }), [0.5, -1, 1, 1]);
  });
});

describe('schedulerConfig', () => {
  const file = {
    _class_name: 'PNDMScheduler', beta_end: 0.012, beta_schedule: 'scaled_linear', beta_start: 0.00085, clip_sample: false, num_train_timesteps: 1000,
    prediction_type: 'epsilon', set_alpha_to_one: false, skip_prk_steps: true, steps_offset: 1, trained_betas: null,
  };

  test('reads the file of Stable Diffusion 2.1-base as the sampler of DreamLLM', () => {
    assert.deepEqual(schedulerConfig(file, 'ddpm'), dreamSampler);
    assert.equal(schedulerConfig(file).kind, 'pndm');
  });

  test('refuses by name what it does not know', () => {
    assert.throws(() => schedulerConfig({ ...file, _class_name: 'LCMScheduler' }), /_class_name LCMScheduler is not supported/);
    assert.throws(() => schedulerConfig({ ...file, beta_schedule: 'sigmoid' }), /beta_schedule is "sigmoid"\. Expected one of linear/);
    assert.throws(() => schedulerConfig({ ...file, variance_type: 'learned_range' }, 'ddpm'), /variance_type is "learned_range"/);
    assert.throws(() => schedulerConfig({ ...file, _class_name: 'DPMSolverMultistepScheduler', use_lu_lambdas: true }), /use_lu_lambdas is true/);
    assert.throws(() => schedulerConfig({ ...file, steps_offset: '1' }), /steps_offset is "1"\. Expected a number/);
  });
});
