import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { hashSpec, saveArtefact, type Artefact } from '../core/checkpoint.js';
import { flipHorizontally, type RgbImage } from '../core/images.js';
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
import { startStage } from './hand-off.js';
import { memoryEstimate, train, type LoopOptions, type LoopSettings, type Task } from './loop.js';
import { adamwDefaults } from './optimizer.js';
import type { StageSettings } from './overrides.js';
import { provenance } from './provenance.js';
import { clipTextTargets, type RegressionTargets } from './regression-targets.js';
import { readEvents, RunFolder } from './run-folder.js';
import { fileSources, generatedSources } from './sources.js';
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
  /** Held-out losses during the stage, on generated data; they cost a few steps. Default: unless the data comes from files. */
  validate?: boolean;
}

export interface StageResult {
  /** The trained model; the caller disposes it. */
  params: DreamParams;
  config: DreamConfig;
  artefact: Artefact;
}

/** Trains one stage into the run folder `out`; the model it ends with lies in `out/checkpoints/final`. */
export async function trainStage(options: TrainStageOptions): Promise<StageResult> {
  const { preset, settings, out, parents = [], files, resume = false, validate = files === undefined } = options;
  const config: DreamConfig = { ...presetOf(preset), ...options.config, maxTokens: settings.maxTokens };
  if (config.maxTokens > config.language.maxPositions) {
    throw new Error(`maxTokens is ${config.maxTokens}, and ${preset} was made for ${config.language.maxPositions} positions. Set maxTokens to that or less.`);
  }
  const foundation = options.foundation ?? (preset === 'nano' ? join(packageRoot(), 'data/foundation') : undefined);
  const start = startStage(settings, { config, foundation, parents });
  const resolved = { preset, ...(options.config ? { config: options.config } : {}), stage: settings, parents: start.parents, ...(files ? { files } : {}) };
  let folder: RunFolder | undefined;
  let targets: RegressionTargets | undefined;
  try {
    if (settings.lossWeights.regression) {
      if (preset !== 'nano' || !foundation) throw new Error(`Preset "${preset}" has no CLIP text tower to regress to. Use nano, or leave lossWeights.regression out.`);
      targets = clipTextTargets(foundation, config.numDreamQueries);
    }
    folder = resume ? RunFolder.resume(out, resolved) : RunFolder.create(out, { settings: resolved, provenance: provenance() });
    const sources = files ? await fileSources(settings.data, files) : generatedSources(settings.data, settings.seed);
    const task = stageTask(start.params, config, preset, settings, sources, targets);
    const loop = loopSettings(settings);
    const { trainableParameters, stateBytes } = memoryEstimate(task);
    options.progress?.say(
      `${settings.name}: ${loop.steps} steps of ${settings.microBatchSize * loop.accumulation} samples, ${trainableParameters.toLocaleString('en')} trainable parameters, ` +
        `${Math.ceil(stateBytes / 2 ** 20)} MiB for them, their gradients and moments.`,
    );
    const evaluate = validate ? { every: Math.max(1, Math.ceil(loop.steps / 4)), run: stageValidation(start.params, config, settings, tokenizerOf(preset)) } : undefined;
    const training = await train(task, loop, { folder, resume, evaluate, signal: options.signal, progress: options.progress, onStep: options.onStep });
    training.dispose();
    const verdict = settings.lossWeights.diffusion > 0 ? diffusionVerdict(readEvents(out)) : undefined;
    if (verdict) options.progress?.say(verdict.text);

    let artefact: Artefact | undefined;
    folder.saveCheckpoint('final', { step: loop.steps }, (dir) => {
      artefact = saveArtefact(dir, start.params, {
        name: settings.name,
        spec: hashSpec(dreamSpec(config)),
        trainable: [...settings.trainable],
        parents: start.parents,
        about: { preset, settings },
      });
    });
    folder.finish({ stage: settings.name, hash: artefact!.hash, steps: loop.steps, ...(verdict ? { verdict } : {}) });
    return { params: start.params, config, artefact: artefact! };
  } catch (error) {
    tf.dispose(start.params);
    throw error;
  } finally {
    targets?.dispose();
    folder?.close();
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
  params: DreamParams, config: DreamConfig, preset: string, settings: StageSettings, sources: readonly Source<TrainingRecord>[], targets?: RegressionTargets,
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
      const records = data.batch(number, microBatchSize);
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
