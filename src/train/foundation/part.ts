import type { Task } from '../loop.js';
import type { OptimizerSettings } from '../optimizer.js';
import type { Schedule } from '../schedules.js';

export const partNames = ['vae', 'clip', 'lm', 'unet', 'vision', 'reading'] as const;
export type PartName = (typeof partNames)[number];

/** Where each part is written. `vision` and `reading` are the same CLIP with a better picture tower, so each takes the place of the one before. */
export const fileNames: Record<PartName, string> = {
  vae: 'vae.safetensors', clip: 'clip.safetensors', lm: 'lm.safetensors', unet: 'unet.safetensors', vision: 'clip.safetensors',
  reading: 'clip.safetensors',
};

/** How one of the foundation models is trained, as data. */
export interface PartSettings {
  steps: number;
  batchSize: number;
  schedule: Schedule;
  optimizer: OptimizerSettings;
  maxGradNorm: number;
  emaDecay?: number;
  seed: number;
  checkpointEvery: number;
  /**
   * U-Net: from this step on the squared error of a time step is weighted by 1 / SNR, at most `most`. The unweighted error says little about what a
   * picture shows: that is decided at high noise, where the error of the noise is small whatever the network knows.
   */
  weighting?: { from: number; most: number };
  /** `reading`: from this step on the words of captions are also told from the mean patch alone, through a linear map into the language model's own embeddings. */
  words?: { from: number };
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
