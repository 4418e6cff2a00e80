import type { Task } from '../loop.js';
import type { OptimizerSettings } from '../optimizer.js';
import type { Schedule } from '../schedules.js';

export const partNames = ['vae', 'clip', 'lm', 'unet'] as const;
export type PartName = (typeof partNames)[number];

/** How one of the four foundation models is trained, as data. */
export interface PartSettings {
  steps: number;
  batchSize: number;
  schedule: Schedule;
  optimizer: OptimizerSettings;
  maxGradNorm: number;
  emaDecay?: number;
  seed: number;
  checkpointEvery: number;
  /** Steps between evaluations on held-out data. */
  evaluateEvery: number;
}

/** A model being trained for the foundation. The trainer owns it and disposes it. */
export interface Part {
  /** Parameters under the names of their file. */
  params: unknown;
  task: Task;
  /** Measures the parameters as they are on held-out data. */
  evaluate(): Promise<Record<string, number>>;
  /** Draws pictures that a person can judge into `file`.png. */
  draw?(file: string): Promise<void>;
  /** Last changes to the parameters, such as bringing latents to unit variance; what it returns is recorded. */
  finish?(): Promise<Record<string, unknown>>;
  dispose(): void;
}
