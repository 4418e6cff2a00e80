/** Metrics, each with its protocol. Everything takes plain values, so that numbers of any origin can be measured. */
export { captionPairs, readMmbench, readMmbenchPredictions, readMmvet, readPope, readVqa } from './benchmark-files.js';
export { bleu, ciderD, rougeL, type CaptionPair } from './captions.js';
export { bestOfKCurve, clipScores, pairCosines } from './clip-score.js';
export { dreamTokenScores } from './dream-tokens.js';
export { bestOfKFeatures, explainDifference, fidWaterfall, sampleOf, waterfallFigure } from './explain.js';
export { extractorNames, loadNetwork, pictureFeatures } from './extractors.js';
export { features, readFeatures, selectRows, type Features } from './features.js';
export { factored, frechetDistance, frechetLimit, moments } from './frechet.js';
export { cmmd, kid, kidOfSubsets, unbiasedKid } from './kernel-distance.js';
export { languageTasks, scoreLanguageTask, type LogLikelihood } from './language.js';
export * from './measure.js';
export { matchers, rotations, scoreMmbench, type MmbenchRow } from './mmbench.js';
export { endpointJudge, judgeFromEnvironment, localJudge, scoreMmvet, type Judge } from './mmvet.js';
export { parseYesNo, popeScores } from './pope.js';
export { precisionRecall } from './precision-recall.js';
export { captionTokens } from './ptb.js';
export { vqaAccuracy } from './vqa.js';
export * as nanoMetrics from './nano/index.js';
