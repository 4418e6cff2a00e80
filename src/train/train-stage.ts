import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { fetchValues, hashSpec, saveArtefact, type Artefact } from '../core/checkpoint.js';
import { flipHorizontally, type RgbImage } from '../core/images.js';
import { requireRoom } from '../core/memory.js';
import { select } from '../core/params.js';
import { packageRoot } from '../core/process.js';
import { random } from '../core/random.js';
import { mixture, type Source } from '../data/batches.js';
import type { DatasetFiles } from '../data/formats/datasets.js';
import { readImage } from '../data/images.js';
import { toSample, type TrainingRecord } from '../data/samples.js';
import { nanoTokenizer } from '../data/tokenizer.js';
import { board } from '../data/scenes.js';
import type { ImageRef } from '../data/types.js';
import { collate } from '../dreamllm/collate.js';
import { latentSize, layoutConfig, releasedObjective, type DreamConfig, type Objective } from '../dreamllm/config.js';
import { encodeImages, pixels, type EncodedBatch } from '../dreamllm/forward.js';
import { dreamLoss, drawDiffusion, type DiffusionDraws } from '../dreamllm/loss.js';
import { dreamSpec, type DreamParams } from '../dreamllm/model.js';
import { preset as presetOf } from '../dreamllm/presets.js';
import { trainNanoTokenizer } from '../text/nano.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { describeEstimate, heldBytes, peakMemory, probe, stageSizes, type Probe, type StageSizes } from './estimate.js';
import { startStage, type Start } from './hand-off.js';
import { train, type LoopOptions, type LoopSettings, type Task } from './loop.js';
import { adamwDefaults } from './optimizer.js';
import type { StageSettings } from './overrides.js';
import { provenance } from './provenance.js';
import { compareWithReference, readReferenceCurves, referenceOf } from './reference-curves.js';
import { clipTextTargets, type RegressionTargets } from './regression-targets.js';
import { checkpointSteps, readEvents, RunFolder } from './run-folder.js';
import { drawSamples } from './samples.js';
import { describeReport, fileSources, generatedSources, heldOutRecords, type FileReading, type SourceReport } from './sources.js';
import { stepsOf } from './stages.js';
import { stageValidation } from './validation.js';
import { diffusionVerdict } from './verdict.js';

export interface TrainStageOptions extends Pick<LoopOptions, 'signal' | 'progress' | 'onStep'> {
  preset: string;
  settings: StageSettings;
  /** What this model has otherwise than the preset, such as another number of dream queries. Parents must have it too. */
  config?: Partial<DreamConfig>;
  /** Run folder. */
  out: string;
  /** Folders of the finished parent stages. */
  parents?: readonly string[];
  resume?: boolean;
  /** Folder of the foundation. Default: data/foundation of the package for nano, none (random weights) for micro. */
  foundation?: string;
  /** Data files in place of what is generated, by the names of `settings.data`, whose sizes they are mixed by. */
  files?: Readonly<Record<string, DatasetFiles>>;
  /** How `files` are read. Default: in their order, every record, and the first malformed one stops. */
  reading?: FileReading;
  /** Held-out losses and drawn samples during the stage; they cost a few steps. Default: unless the data comes from files. */
  validate?: boolean;
  /** Files whose first records are held out for validation, in place of the emoji world's. */
  heldOut?: Readonly<Record<string, DatasetFiles>>;
  /** Try a step before the start and say what time and memory the training will take. */
  estimate?: boolean;
}

export interface StageResult {
  /** The trained model; the caller disposes it. */
  params: DreamParams;
  config: DreamConfig;
  artefact: Artefact;
}

/** Trains one stage into the run folder `out`; the model it ends with lies in `out/checkpoints/final`. */
export async function trainStage(options: TrainStageOptions): Promise<StageResult> {
  const { settings, out, resume = false } = options;
  const { config, sizes, start, targets, resolved } = beginStage(options);
  let folder: RunFolder | undefined;
  let data: Awaited<ReturnType<typeof stageData>> | undefined;
  try {
    folder = resume ? RunFolder.resume(out, resolved) : RunFolder.create(out, { settings: resolved, provenance: provenance() });
    const say = options.progress?.say;
    data = await stageData(options, config, start.params, targets);
    const { task, reports, validation } = data;
    if (resume) refuseOtherData(out, reports);
    for (const report of reports) {
      folder.append({ type: 'data', ...report });
      say?.(describeReport(report));
    }
    const loop = loopSettings(settings);
    if (options.estimate) {
      const probed = await probe(task, loop);
      folder.append({ type: 'estimate', ...sizes, ...probed, peakBytes: peakMemory(sizes, probed) });
      say?.(describeEstimate(settings, sizes, probed, resume ? (checkpointSteps(out).at(-1) ?? 0) : 0));
    }
    const run = async (step: number) => {
      if (step > 0 && (settings.lossWeights.diffusion > 0 || settings.lossWeights.regression)) await drawSamples(start.params, config, tokenizerOf(options.preset), join(out, 'samples', String(step).padStart(6, '0')));
      return validation!();
    };
    const evaluate = validation ? { every: settings.evaluateEvery ?? Math.max(1, Math.ceil(loop.steps / 4)), best: settings.best ?? 'valLoss', run } : undefined;
    const training = await train(task, loop, { folder, resume, evaluate, signal: options.signal, progress: options.progress, onStep: options.onStep });
    const verdict = settings.lossWeights.diffusion > 0 ? diffusionVerdict(readEvents(out)) : undefined;
    if (verdict) say?.(verdict.text);

    const reference = referenceOf(out, readReferenceCurves());
    const comparison = reference && compareWithReference(readEvents(out), reference);
    if (comparison) say?.(`The loss kept to its reference band in ${comparison.inside} of ${comparison.stretches} stretches of ${reference.width} steps.`);

    let artefact: Artefact | undefined;
    await training.withResult(async () => {
      await fetchValues(start.params);
      folder!.saveCheckpoint('final', { step: loop.steps }, (dir) => {
        artefact = saveArtefact(dir, start.params, {
          name: settings.name,
          spec: hashSpec(dreamSpec(config)),
          trainable: [...settings.trainable],
          parents: start.parents,
          about: { preset: options.preset, settings },
        });
      });
    });
    if (training.ema) training.ema.swap(); // the model that is handed back is the one that was saved
    const { best } = training;
    training.dispose();
    folder.finish({ stage: settings.name, hash: artefact!.hash, steps: loop.steps, residentBytes: process.resourceUsage().maxRSS * 1024, ...(best ? { best } : {}), ...(verdict ? { verdict } : {}), ...(comparison ? { reference: comparison } : {}) });
    return { params: start.params, config, artefact: artefact! };
  } catch (error) {
    tf.dispose(start.params);
    throw error;
  } finally {
    targets?.dispose();
    await data?.close();
    folder?.close();
  }
}

/** What a training would take, found by trying its first step. Nothing is written. */
export async function estimateStage(options: Omit<TrainStageOptions, 'out'>): Promise<{ sizes: StageSizes; probed: Probe }> {
  const { config, sizes, start, targets } = beginStage(options);
  try {
    const { task, close } = await stageData(options, config, start.params, targets);
    try {
      return { sizes, probed: await probe(task, loopSettings(options.settings)) };
    } finally {
      await close();
    }
  } finally {
    targets?.dispose();
    tf.dispose(start.params);
  }
}

interface Beginning {
  config: DreamConfig;
  sizes: StageSizes;
  start: Start;
  /** What a regression loss fits; absent in stages without one. */
  targets?: RegressionTargets;
  /** All that decides the result, as plain data. */
  resolved: object;
}

/** What a stage starts from. The caller disposes the parameters and the targets. */
function beginStage({ preset, settings, parents = [], files, reading, ...options }: Omit<TrainStageOptions, 'out'>): Beginning {
  const config: DreamConfig = { ...presetOf(preset), ...options.config, maxTokens: settings.maxTokens };
  if (config.maxTokens > config.language.maxPositions) {
    throw new Error(`maxTokens is ${config.maxTokens}, and ${preset} was made for ${config.language.maxPositions} positions. Set maxTokens to that or less.`);
  }
  const foundation = options.foundation ?? (preset === 'nano' ? join(packageRoot(), 'data/foundation') : undefined);
  const { regression } = settings.lossWeights;
  if (regression && (preset !== 'nano' || !foundation)) throw new Error(`Preset "${preset}" has no CLIP text tower to regress to. Use nano, or leave lossWeights.regression out.`);
  const sizes = stageSizes(config, settings);
  requireRoom(heldBytes(sizes), `Parameters, optimizer state and gradients of ${settings.name}`);
  const start = startStage(settings, { config, foundation, parents });
  const targets = regression ? clipTextTargets(foundation!, config.numDreamQueries) : undefined;
  const resolved = {
    preset,
    ...(options.config ? { config: options.config } : {}),
    stage: settings,
    parents: start.parents,
    ...(files ? { files } : {}),
    ...(reading ?? {}),
    ...(options.heldOut ? { heldOut: options.heldOut } : {}),
  };
  return { config, sizes, start, targets, resolved };
}

async function stageData(
  { preset, settings, files, reading, heldOut, ...options }: Omit<TrainStageOptions, 'out'>, config: DreamConfig, params: DreamParams, targets?: RegressionTargets,
) {
  const read = files && (await fileSources(settings.data, files, settings.seed, reading));
  const sources = read?.sources ?? generatedSources(settings.data, settings.seed);
  const records = heldOut && (await heldOutRecords(heldOut));
  const isWanted = options.validate ?? (files === undefined || heldOut !== undefined);
  return {
    task: stageTask(params, config, preset, settings, sources, targets),
    reports: read?.reports ?? [],
    close: async () => void (await Promise.all((read?.sources ?? []).map((source) => source.close()))),
    validation: isWanted ? stageValidation(params, config, settings, tokenizerOf(preset), records) : undefined,
  };
}

/** A resumed run must find the records that it began with: their order would be another one. */
function refuseOtherData(out: string, reports: readonly SourceReport[]): void {
  const events = readEvents(out);
  for (const { source, records, skipped } of reports) {
    const before = events.find((event) => event.type === 'data' && event.source === source);
    if (before && (before.records !== records || before.skipped !== skipped)) {
      throw new Error(
        `${source}: the run began with ${before.records} records and ${before.skipped} skipped, and its files now hold ${records} and ${skipped}. ` +
          'Put the files back, or start a new run in another folder.',
      );
    }
  }
}

/** What a batch of a stage is made of. */
export interface StageInputs {
  [name: string]: unknown;
  batch: EncodedBatch;
  draws: DiffusionDraws | null;
}

/** A stage as something to minimise: its batches, laid out and run through the frozen encoders, and DreamLLM's two losses. `targets` are those of a regression loss. */
export function stageTask(
  params: DreamParams, config: DreamConfig, preset: string, settings: StageSettings,
  sources: readonly Source<TrainingRecord | Promise<TrainingRecord>>[], targets?: RegressionTargets,
): Task {
  const { seed, name, microBatchSize } = settings;
  const { accumulation } = loopSettings(settings);
  const tokenizer = tokenizerOf(preset);
  const data = mixture(sources, seed);
  const objective = objectiveOf(settings);
  return {
    name,
    trainable: select(params, settings.trainable),
    allowUnused: true,
    async batch(step, micro) {
      const number = step * accumulation + micro;
      const records = await Promise.all(data.batch(number, microBatchSize));
      const inputs = await stageInputs(records, { params, config, settings, tokenizer, objective, targets, path: [name, 'batch', number] });
      return { ids: records.map(({ id }) => id), inputs: inputs as unknown as tf.TensorContainer };
    },
    loss(inputs) {
      const { batch, draws } = inputs as unknown as StageInputs;
      // A weight of 0 need not be computed through the U-Net and back; the loss is then logged as 0, and validation still measures it.
      const isDrawn = objective.weights.diffusion > 0 || Boolean(objective.weights.alignment);
      return { ...(isDrawn ? dreamLoss(params, config, batch, draws, objective) : dreamLoss(params, config, { ...batch, latents: null }, null, objective)) };
    },
  };
}

export interface InputContext {
  params: DreamParams;
  config: DreamConfig;
  settings: StageSettings;
  tokenizer: Tokenizer;
  objective: Objective;
  targets?: RegressionTargets;
  /** Names the random numbers of this batch. */
  path: readonly (string | number)[];
}

/** Lays records out, draws their random numbers and runs the frozen encoders. The tensors are the caller's. */
export async function stageInputs(records: readonly TrainingRecord[], context: InputContext): Promise<StageInputs> {
  const { params, config, settings, tokenizer, objective, targets: fitted, path } = context;
  const { seed, mode, randomFlip } = settings;
  const layout = layoutConfig(config);
  const samples = records.map((record) => toSample(record, (text) => tokenizer.encode(text), layout, { mode, seed, template: config.template }));
  const collated = collate(samples, config.tokens);
  const pictureSide = Math.max(board, config.vision.imageSize, config.imageSize);
  const read = async (ref: ImageRef): Promise<RgbImage> => ({ width: pictureSide, height: pictureSide, data: await readImage(ref, pictureSide) });
  const [images, targets] = [await Promise.all(collated.images.map(read)), await Promise.all(collated.dreamImages.map(read))];
  const flips = random(seed, ...path, 'flip');
  const dreamImages = randomFlip ? targets.map((image) => (flips.uniform() < 0.5 ? flipHorizontally(image) : image)) : targets;

  const side = latentSize(config);
  const shape = [dreamImages.length, side, side, config.vae.latentChannels] as [number, number, number, number];
  const size = tf.util.sizeFromShape(shape);
  const posteriorNoise = size > 0 ? tf.tensor4d(random(seed, ...path, 'posterior').normals(size), shape) : undefined;
  const inputs = pixels({ images, dreamImages }, config, { alignment: Boolean(objective.weights.alignment) });
  const batch = encodeImages(params, config, collated, inputs, posteriorNoise);
  tf.dispose([inputs.images, inputs.dreamImages, inputs.aligned, posteriorNoise].filter((tensor) => tensor != null));
  if (fitted && size > 0) batch.regressionTargets = fitted.of(collated.dreamImages);
  return { batch, draws: size > 0 ? drawDiffusion(shape, config, objective, seed, ...path) : null };
}

export const objectiveOf = ({ lossWeights, snrGamma }: StageSettings): Objective => ({ ...releasedObjective, weights: lossWeights, ...(snrGamma === undefined ? {} : { snrGamma }) });

/** What the paper spreads over devices is added up here, one micro-batch after the other. */
export const loopSettings = (settings: StageSettings): LoopSettings => ({
  steps: stepsOf(settings),
  accumulation: settings.accumulation * settings.devices,
  schedule: settings.schedule,
  optimizer: adamwDefaults,
  maxGradNorm: settings.maxGradNorm,
  ...(settings.emaDecay === undefined ? {} : { emaDecay: settings.emaDecay }),
  checkpointEvery: settings.checkpointEvery,
  keepLast: settings.keepLast,
});

const tokenizers = new Map<string, Tokenizer>();

/** The tokenizer that goes with a preset's vocabulary. Micro's is bytes alone. */
export function tokenizerOf(preset: string): Tokenizer {
  let tokenizer = tokenizers.get(preset);
  if (!tokenizer) {
    if (preset !== 'nano' && preset !== 'micro') throw new Error(`No tokenizer lies beside preset "${preset}": it is trained with Vicuna's, on a machine that has its weights.`);
    tokenizer = preset === 'nano' ? nanoTokenizer() : trainNanoTokenizer([], presetOf(preset).language.vocabSize);
    tokenizers.set(preset, tokenizer);
  }
  return tokenizer;
}
