import type { DeclaredTable } from '../paper-tables.js';
import { comprehensionTables } from './comprehension.js';
import { dreamQueriesTable } from './dream-queries.js';
import { latencyTable } from './latency.js';
import { synergyTable } from './synergy.js';

/** The paper's questions, and some that it leaves open, as sweeps of nano. Each has a folder under experiments/. */
export { bestByClip, bestOfK } from './best-of-k.js';
export { comprehensionCreationRatio } from './comprehension-creation-ratio.js';
export { dataNoise } from './data-noise.js';
export { dreamQueries } from './dream-queries.js';
export { guidanceScale } from './guidance-scale.js';
export { latency } from './latency.js';
export { nanoSweep, type Measuring, type NanoExperiment, type NanoOptions, type Recipe } from './nano.js';
export { samplingSteps } from './sampling-steps.js';
export { mainJobRecords, synergy } from './synergy.js';

/** Which tables of the paper a sweep here answers. */
export const declaredTables: readonly DeclaredTable[] = [...comprehensionTables, synergyTable, dreamQueriesTable, latencyTable];
