import type { DeclaredTable } from '../paper-tables.js';
import { comprehensionTables } from './comprehension.js';
import { documentTable } from './document-pictures.js';
import { dreamQueriesTable } from './dream-queries.js';
import { languageTable } from './language-retention.js';
import { latencyTable } from './latency.js';
import { rewriteTables } from './rewrite-then-generate.js';
import { synergyTable } from './synergy.js';

/** The paper's questions, and some that it leaves open, as sweeps of nano. Each has a folder under experiments/. */
export { bestByClip, bestOfK } from './best-of-k.js';
export { clipRegression } from './clip-regression.js';
export { comprehensionCreationRatio } from './comprehension-creation-ratio.js';
export { dataNoise } from './data-noise.js';
export { documentPictures } from './document-pictures.js';
export { dreamQueries } from './dream-queries.js';
export { fewShot } from './few-shot.js';
export { guidanceScale } from './guidance-scale.js';
export { inContext } from './in-context.js';
export { languageRetention } from './language-retention.js';
export { languageScale } from './language-scale.js';
export { latency } from './latency.js';
export { manyImages } from './many-images.js';
export { nanoSweep, type Measuring, type NanoExperiment, type MeasuringOptions, type NanoOptions, type Recipe } from './nano.js';
export { queryMicroscope } from './query-microscope.js';
export { rewriteThenGenerate } from './rewrite-then-generate.js';
export { samplingSteps } from './sampling-steps.js';
export { mainJobRecords, synergy } from './synergy.js';
export { trainingLength } from './training-length.js';

/** Which tables of the paper a sweep here answers. */
export const declaredTables: readonly DeclaredTable[] = [...comprehensionTables, synergyTable, dreamQueriesTable, latencyTable, languageTable, documentTable, ...rewriteTables];
