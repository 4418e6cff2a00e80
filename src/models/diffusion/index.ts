/** Stable Diffusion: U-Net, autoencoder, noise schedules, samplers, guidance. */
export { ddimVariance, type DdimConfig } from './ddim.js';
export type { DdpmConfig } from './ddpm.js';
export type { DpmSolverConfig } from './dpm-solver.js';
export type { EulerConfig } from './euler.js';
export * from './guidance.js';
export { observe, type Observer } from './observe.js';
export type { PndmConfig } from './pndm.js';
export { timestepSinusoids } from './resnet.js';
export * from './sample.js';
export * from './schedule.js';
export type { OriginalLimit, Scheduler, SolverState, StepInput, StepResult } from './scheduler.js';
export * from './schedulers.js';
export { emptyState } from './scheduler.js';
export type { TimestepSpacing } from './timesteps.js';
export { stableDiffusionUNet, unet, unetConfig, unetSpec, type UNetConfig, type UNetParams } from './unet.js';
export * from './vae.js';
