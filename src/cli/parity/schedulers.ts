import * as tf from '@tensorflow/tfjs';
import { addNoise, emptyState, scheduler, schedulerConfig, velocity, type Scheduler, type SolverState } from '../../models/diffusion/index.js';
import type { Fixture } from './fixture.js';
import type { Kind } from './kinds.js';
import type { Report } from './report.js';

interface Case {
  id: string;
  class: string;
  config: Record<string, unknown>;
  num_inference_steps: number;
  eta: number | null;
  beta_key: string;
}

/** The schedulers of diffusers, on a model that is a formula. Everything here is elementwise, so the files' layout serves as it is. */
export const schedulersKind: Kind = {
  name: 'schedulers',
  matches: (fixture) => fixture.has('cases.json') && fixture.inputs.has('step_noise'),
  async run(fixture, report) {
    const { cases } = fixture.json('cases.json') as { cases: Case[] };
    const compared = new Set<string>();
    for (const { id, class: name, config: json, num_inference_steps: steps, eta, beta_key: key } of cases) {
      const config = schedulerConfig({ ...json, _class_name: name });
      const sampler = scheduler(config.kind === 'ddim' ? { ...config, eta: eta ?? 0 } : config, steps);
      if (!compared.has(key)) {
        compared.add(key);
        await report.compare(`${key}.betas`, column(sampler.schedule.betas));
        await report.compare(`${key}.alphas_cumprod`, column(sampler.schedule.alphaBars));
      }
      await report.compare(`${id}.timesteps`, column(sampler.timesteps));
      await report.compare(`${id}.init_noise_sigma`, { shape: [], values: [sampler.initNoiseSigma] });
      if (sampler.sigmas) await report.compare(`${id}.sigmas`, column(sampler.sigmas));
      await compareNoising(fixture, report, id, sampler, steps);
      await compareLoop(fixture, report, id, sampler);
    }
  },
};

const column = (values: ArrayLike<number>) => ({ shape: [values.length], values });
const row = (x: tf.Tensor, i: number) => x.slice([i], [1]) as tf.Tensor4D;

async function compareNoising(fixture: Fixture, report: Report, id: string, sampler: Scheduler, steps: number): Promise<void> {
  const latents = fixture.input<tf.Tensor4D>('latents');
  const noise = fixture.input<tf.Tensor4D>('noise');
  const timesteps = await fixture.input('train_timesteps').data();
  if (fixture.wants(`${id}.add_noise`)) await report.compare(`${id}.add_noise`, addNoise(sampler.schedule, latents, noise, timesteps));
  if (fixture.wants(`${id}.velocity`)) await report.compare(`${id}.velocity`, velocity(sampler.schedule, latents, noise, timesteps));
  const perStep = `${id}.add_noise_inference_timesteps`;
  if (fixture.wants(perStep)) {
    const noised = [0, Math.floor(steps / 2)].map((index, i) => sampler.addNoise(row(latents, i), row(noise, i), index));
    await report.compare(perStep, tf.concat(noised));
  }
}

/** Samples with the model 0.6 · output[step] + tanh(x) (0.2 + 0.3 t / 1000). */
async function compareLoop(fixture: Fixture, report: Report, id: string, sampler: Scheduler): Promise<void> {
  const outputs = fixture.input('model_outputs');
  const noises = fixture.input('step_noise');
  const inputs: tf.Tensor[] = [];
  const states: tf.Tensor[] = [];
  const originals: tf.Tensor[] = [];
  let latents = fixture.input<tf.Tensor4D>('start').mul<tf.Tensor4D>(sampler.initNoiseSigma);
  let state: SolverState = emptyState;
  for (const [index, t] of sampler.timesteps.entries()) {
    const given = (x: tf.Tensor) => row(x, index).reshape<tf.Tensor4D>(latents.shape);
    const input = sampler.scaleInput(latents, index);
    const prediction = given(outputs).mul<tf.Tensor4D>(0.6).add<tf.Tensor4D>(input.tanh().mul(0.2 + (0.3 * t) / 1000));
    const next = sampler.step({ prediction, latents, index, state, noise: sampler.needsNoise(index) ? given(noises) : undefined });
    ({ latents, state } = next);
    inputs.push(input);
    states.push(latents);
    if (next.original) originals.push(next.original);
  }
  await report.compare(`${id}.model_inputs`, tf.stack(inputs));
  await report.compare(`${id}.steps`, tf.stack(states));
  if (fixture.wants(`${id}.pred_original_sample`)) await report.compare(`${id}.pred_original_sample`, tf.stack(originals));
}
