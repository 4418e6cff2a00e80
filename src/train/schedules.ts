/**
 * Learning rates over a run, as data: a schedule says what a person would choose, `learningRate` computes. The shapes are those of the
 * `transformers` library, which the reference trains with; its multipliers are in data/fixtures/optimizer.
 */
export interface Schedule {
  /** `cosine` falls from `peak` to 0 along half a cosine; `linear` along a line; `constant` stays. */
  shape: 'cosine' | 'linear' | 'constant';
  peak: number;
  /** Share of the run's steps spent rising linearly from 0; the number of steps is rounded up. */
  warmupRatio: number;
}

export const warmupCosine = (peak: number, warmupRatio: number): Schedule => ({ shape: 'cosine', peak, warmupRatio });
export const warmupConstant = (peak: number, warmupRatio: number): Schedule => ({ shape: 'constant', peak, warmupRatio });

export const warmupSteps = ({ warmupRatio }: Schedule, steps: number): number => Math.ceil(steps * warmupRatio);

/** The multiplier of the peak in step `step` (from 0) of `steps`, of which the first `warmup` rise. The first is 0 where there is a warm-up. */
export function multiplier(shape: Schedule['shape'], step: number, warmup: number, steps: number): number {
  if (step < warmup) return step / Math.max(1, warmup);
  const left = Math.max(1, steps - warmup);
  if (shape === 'linear') return Math.max(0, (steps - step) / left);
  if (shape === 'constant') return 1;
  return Math.max(0, 0.5 * (1 + Math.cos((Math.PI * (step - warmup)) / left)));
}

/** The learning rate of step `step` (from 0) of `steps`. */
export const learningRate = (schedule: Schedule, step: number, steps: number): number =>
  schedule.peak * multiplier(schedule.shape, step, warmupSteps(schedule, steps), steps);
