/**
 * The library as notebooks see it. Models and low-level parts come as namespaces (`llama.greedy`, `diffusion.scheduler`, `ops.attention`);
 * what a chapter calls by name is exported flat.
 */
export { useBackend, describeBackend, type BackendChoice } from './core/backend.js';
export { contactSheet, decodeImage, encodePng, toImages, type RgbImage } from './core/images.js';
export { countParameters, flatten, initialize, select, type Params, type Spec } from './core/params.js';
export { packageRoot } from './core/process.js';
export { deriveSeed, random, type Random } from './core/random.js';
export * as ops from './core/ops/index.js';
export * as nn from './nn/index.js';
export * as llama from './models/llama/index.js';
export * as clip from './models/clip/index.js';
export * as diffusion from './models/diffusion/index.js';

export type { Tokenizer } from './text/tokenizer.js';
export { answer, continueText, questionPrompt, type AnswerOptions } from './dreamllm/comprehend.js';
export { layoutConfig, type DreamConfig, type Objective } from './dreamllm/config.js';
export { draw, drawFrom, namedSampler, queryStates, type DrawOptions } from './dreamllm/create.js';
export { writeDocument, type Part, type WriteOptions } from './dreamllm/interleaved.js';
export { dreamLoss, drawDiffusion, diffusionTerms } from './dreamllm/loss.js';
export { QueryAttention } from './dreamllm/query-attention.js';
export { dreamSpec, residentModel, type DreamModel, type DreamParams } from './dreamllm/model.js';
export { preset, presetNames } from './dreamllm/presets.js';

export { caption, pairAt } from './data/captions.js';
export { documentAt } from './data/documents.js';
export { loadImage } from './data/images.js';
export { conversationAt, instructInterleavedAt } from './data/instructions.js';
export { questionAt } from './data/questions.js';
export { contextAnswer, contextRequestAt } from './data/subjects.js';
export { sceneAt, renderScene } from './data/scenes.js';
export { nanoTokenizer } from './data/tokenizer.js';

export { loadFoundation, loadStage } from './train/hand-off.js';
export { readEvents } from './train/run-folder.js';
export { nano, paper, released, stageNames, stagesTable, type Stage, type StageName } from './train/stages.js';
export { stageSettings } from './train/overrides.js';
export { trainStage } from './train/train-stage.js';

export * from './eval/protocol.js';
export * from './eval/statistics.js';
export * as metrics from './eval/index.js';

export * as experiments from './lab/experiments/index.js';
export {
  abilityBars, aqFrom, comparisonOf, documentHtml, documentMatch, foundationCurves, greyMaps, latencyFigure, lossSentences, openStage, pictureDistance, sweepFigure, trainedParts,
} from './lab/chapters.js';
export { compare } from './lab/comparison.js';
export { bySetting, recordRows, toArquero, toDanfo } from './lab/frames.js';
export { bars, radar } from './lab/figures/bars.js';
export { curves, lossCurve } from './lab/figures/curves.js';
export { pairedDifferences } from './lab/figures/differences.js';
export type { Figure } from './lab/figures/figure.js';
export {
  abilitiesFromRecords, barsFromRecords, curveFromRecords, differencesFromRecords, lossesFromRecords, paretoFromRecords, queryMapsFromRecords, radarFromRecords, samplesFromRecords,
} from './lab/figures/from-records.js';
export { queryMaps } from './lab/figures/query-maps.js';
export { pareto } from './lab/figures/pareto.js';
export { sampleGrid } from './lab/figures/sample-grid.js';
export { describeJob, jobPicture, measurementTable, openJob, recordHash, stageEvents, type Job } from './lab/job.js';
export { paperTable, paperTableNames } from './lab/paper.js';
export { paperComparison } from './lab/paper-tables.js';
export { readRecords } from './lab/records.js';
export { abilityRadar, find, guidanceFigure, stageCurves, synergyFigures, validationCurves, vanilla } from './lab/report.js';
export { stageGraph } from './lab/stage-graph.js';
export { type Config, type Measure, type Sweep, type TrialContext } from './lab/sweep.js';
export { trainArm, synergyArms } from './lab/synergy.js';
export { toHtml, toLatex, toMarkdown } from './lab/tables.js';
export { against, promptEffect, stated, trend } from './lab/verdicts.js';
