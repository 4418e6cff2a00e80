import type { Stage } from '../train/stages.js';
import type { StageGraph } from './stage-graph.js';

/**
 * The arms of the synergy ablation (paper, Table 3). All see the same documents in the same order for the same number of updates; an arm
 * differs by the losses that are counted, nothing else.
 */
export const synergyArms = {
  joint: { lm: 1, diffusion: 10 },
  'comprehension-only': { lm: 1, diffusion: 0 },
  'creation-only': { lm: 0, diffusion: 10 },
} as const satisfies Record<string, Stage['lossWeights']>;

export type SynergyArm = keyof typeof synergyArms;
export const synergyArmNames = Object.keys(synergyArms) as SynergyArm[];

/** Trains stages I to III of an arm; the folder of the last one. */
export const trainArm = (graph: StageGraph, arm: SynergyArm, seed: number): Promise<string> => graph.stage('sft', { seed, lossWeights: synergyArms[arm] });
