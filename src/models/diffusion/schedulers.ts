import { ddim, type DdimConfig } from './ddim.js';
import { ddpm, type DdpmConfig } from './ddpm.js';
import { dpmSolver, type DpmSolverConfig } from './dpm-solver.js';
import { euler, type EulerConfig } from './euler.js';
import { pndm, type PndmConfig } from './pndm.js';
import { reader, type HuggingFaceJson } from './config.js';
import { stableDiffusionSchedule, type ScheduleConfig } from './schedule.js';
import type { OriginalLimit, Scheduler } from './scheduler.js';

export type SchedulerConfig = DdpmConfig | DdimConfig | PndmConfig | EulerConfig | DpmSolverConfig;

/** A sampler of `steps` steps. */
export function scheduler(config: SchedulerConfig, steps: number): Scheduler {
  switch (config.kind) {
    case 'ddpm':
      return ddpm(config, steps);
    case 'ddim':
      return ddim(config, steps);
    case 'pndm':
      return pndm(config, steps);
    case 'euler':
      return euler(config, steps);
    case 'dpm-solver':
      return dpmSolver(config, steps);
  }
}

/** What DreamLLM samples with: DDPM on Stable Diffusion 2.1-base's schedule, leading spacing with offset 1, nothing clipped. */
export const dreamSampler: DdpmConfig = {
  kind: 'ddpm',
  ...stableDiffusionSchedule,
  timestepSpacing: 'leading',
  stepsOffset: 1,
  varianceType: 'fixed_small',
  limit: { kind: 'none' },
};

const classes: Record<string, SchedulerConfig['kind']> = {
  DDPMScheduler: 'ddpm',
  DDIMScheduler: 'ddim',
  PNDMScheduler: 'pndm',
  EulerDiscreteScheduler: 'euler',
  DPMSolverMultistepScheduler: 'dpm-solver',
};

/**
 * Reads `scheduler_config.json`. `kind` overrides its class, as the reference does when it loads the PNDM file of Stable Diffusion as DDPM.
 * Absent settings take the defaults of diffusers 0.24; settings that change the result and are not supported are refused by name.
 */
export function schedulerConfig(json: HuggingFaceJson, kind?: SchedulerConfig['kind']): SchedulerConfig {
  const read = reader(json, 'scheduler_config.json');
  const chosen = kind ?? classes[read.text('_class_name')];
  if (!chosen) throw new Error(`scheduler_config.json: _class_name ${json._class_name} is not supported. Supported are ${Object.keys(classes).join(', ')}.`);
  const schedule: ScheduleConfig = {
    numTrainTimesteps: read.number('num_train_timesteps', 1000),
    betaSchedule: read.choice('beta_schedule', ['linear', 'scaled_linear', 'squaredcos_cap_v2'], 'linear'),
    betaStart: read.number('beta_start', 0.0001),
    betaEnd: read.number('beta_end', 0.02),
    ...(json.trained_betas ? { trainedBetas: read.numbers('trained_betas') } : {}),
    predictionType: read.choice('prediction_type', ['epsilon', 'sample', 'v_prediction'], 'epsilon'),
    rescaleBetasZeroSnr: read.flag('rescale_betas_zero_snr', false),
  };
  const spacing = (fallback: 'leading' | 'linspace') => ({
    timestepSpacing: read.choice('timestep_spacing', ['leading', 'trailing', 'linspace'], fallback),
    stepsOffset: read.number('steps_offset', 0),
  });
  const limit = (clipped: boolean): OriginalLimit => {
    if (read.flag('thresholding', false)) {
      return { kind: 'threshold', quantile: read.number('dynamic_thresholding_ratio', 0.995), maximum: read.number('sample_max_value', 1) };
    }
    return read.flag('clip_sample', clipped) ? { kind: 'clip', range: read.number('clip_sample_range', 1) } : { kind: 'none' };
  };

  switch (chosen) {
    case 'ddpm':
      return {
        kind: 'ddpm',
        ...schedule,
        ...spacing('leading'),
        varianceType: read.choice('variance_type', ['fixed_small', 'fixed_small_log', 'fixed_large'], 'fixed_small'),
        limit: limit(true),
      };
    case 'ddim':
      return { kind: 'ddim', ...schedule, ...spacing('leading'), eta: 0, setAlphaToOne: read.flag('set_alpha_to_one', true), limit: limit(true) };
    case 'pndm':
      return {
        kind: 'pndm',
        ...schedule,
        ...spacing('leading'),
        setAlphaToOne: read.flag('set_alpha_to_one', false),
        skipPrkSteps: read.flag('skip_prk_steps', false),
      };
    case 'euler':
      read.only('interpolation_type', 'linear');
      read.only('timestep_type', 'discrete');
      read.only('sigma_min', null);
      read.only('sigma_max', null);
      return { kind: 'euler', ...schedule, ...spacing('linspace'), useKarrasSigmas: read.flag('use_karras_sigmas', false) };
    case 'dpm-solver':
      read.only('use_lu_lambdas', false);
      read.only('lambda_min_clipped', Number.NEGATIVE_INFINITY);
      read.only('variance_type', null);
      return {
        kind: 'dpm-solver',
        ...schedule,
        ...spacing('linspace'),
        useKarrasSigmas: read.flag('use_karras_sigmas', false),
        solverOrder: read.choice('solver_order', [1, 2, 3], 2),
        algorithm: read.choice('algorithm_type', ['dpmsolver', 'dpmsolver++', 'sde-dpmsolver', 'sde-dpmsolver++'], 'dpmsolver++'),
        solverType: read.choice('solver_type', ['midpoint', 'heun'], 'midpoint'),
        lowerOrderFinal: read.flag('lower_order_final', true),
        eulerAtFinal: read.flag('euler_at_final', false),
        limit: read.flag('thresholding', false) ? limit(false) : { kind: 'none' },
      };
  }
}
