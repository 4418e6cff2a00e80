import { basename, join } from 'node:path';
import { useBackend } from '../../core/backend.js';
import { packageRoot } from '../../core/process.js';
import type { DreamConfig } from '../../dreamllm/config.js';
import { nano } from '../../dreamllm/presets.js';
import type { Subject } from '../../eval/nano/subject.js';
import type { Measurement } from '../../eval/protocol.js';
import { writeTextAtomically } from '../../train/files.js';
import { foundationHash } from '../../train/hand-off.js';
import type { Stage, StageName } from '../../train/stages.js';
import { codeVersion } from '../content-hash.js';
import { readJson } from '../files.js';
import { scaledFoundation, scaledLanguage, type LanguageScale, type ScaledFoundation } from '../language-scale.js';
import { fullSizes, openNano, type MeasureOptions, type Sizes } from '../measure-nano.js';
import { nanoMemory } from '../placement.js';
import { stageGraph } from '../stage-graph.js';
import type { Config, Measure, Sweep, TrialContext } from '../sweep.js';

/** How the model of one configuration is trained, where it differs from nano. Equal recipes are trained once and shared by all trials. */
export interface Recipe {
  config?: Partial<DreamConfig>;
  changes?: Partial<Record<StageName, Partial<Stage>>>;
  /** The last stage. Default: `sft`. */
  last?: StageName;
  /** Seed of the training, where the trial's own seed repeats only the measurement. */
  seed?: number;
  /** Start from a language model of this size, pretrained first, in place of the foundation's. */
  language?: LanguageScale;
}

/** What a measurement may know beside the model. */
export interface MeasuringOptions extends MeasureOptions {
  foundation: string;
  sizes: Sizes;
  /** Run folder of the model's last stage. */
  stage: string;
  /** The pretrained language model, where the recipe asks for one. */
  language?: ScaledFoundation;
}

/** What an experiment measures on a trained model of one configuration. */
export type Measuring<C extends Config> = (subject: Subject, config: C, options: MeasuringOptions) => Promise<Measurement[]>;

export interface NanoExperiment<C extends Config> extends Pick<Sweep<C>, 'name' | 'question' | 'base' | 'grid' | 'list' | 'seeds' | 'secondsPerTrial' | 'maxWorkers'> {
  recipe?(config: C): Recipe;
  measurements: Readonly<Record<string, { version?: number; run: Measuring<C> }>>;
}

/** Smaller trainings and samples than an experiment's own, to see that it runs; and where things are. */
export interface NanoOptions {
  steps?: number;
  sizes?: Sizes;
  seeds?: readonly number[];
  foundation?: string;
}

/**
 * A sweep whose trials train nano, each its own recipe, and measure it. Stages that recipes have in common are trained once, in the sweep's shared
 * folder. A trial is named by its recipe, the foundation and the code that trains; a measurement also by the code that measures.
 */
export function nanoSweep<C extends Config>(experiment: NanoExperiment<C>, options: NanoOptions = {}): Sweep<C> {
  const { recipe: recipeOf, measurements, ...declared } = experiment;
  const recipe = (config: C): Recipe => recipeOf?.(config) ?? {};
  const { steps, sizes = fullSizes, foundation = join(packageRoot(), 'data/foundation'), seeds = declared.seeds } = options;

  /** What the model of a recipe has otherwise than nano. */
  const modelOf = ({ config, language }: Recipe): Partial<DreamConfig> => ({ ...config, ...(language ? { language: scaledLanguage(nano.language, language.scale) } : {}) });

  const measure = (name: string): Measure<C> => ({
    version: measurements[name].version ?? 1,
    identity: { sizes, evaluation: codeVersion(['eval']) },
    async run(config, _seed, context) {
      await useBackend();
      const trained = readJson<Trained>(modelFile(context));
      if (!trained) throw new Error(`${context.folder} names no trained model. Delete the folder to have the trial trained again.`);
      const stage = join(stagesFolder(context), trained.stage);
      const { language } = trained;
      const subject = openNano(stage, modelOf(recipe(config)));
      try {
        return (await measurements[name].run(subject, config, { sizes, foundation, stage, signal: context.signal, ...(language ? { language } : {}) })).map(withoutSamples);
      } finally {
        subject.dispose();
      }
    },
  });

  let origin: Config | undefined; // 25 MB to read: once a process
  return {
    ...declared,
    seeds,
    memoryPerTrial: nanoMemory,
    identity: () => (origin ??= { foundation: foundationHash(foundation), code: codeVersion(), ...(steps === undefined ? {} : { steps }) }),
    recipe: (config) => recipe(config),
    async train(config, seed, context) {
      const { engine, threads } = await useBackend();
      context.log(`Computing on ${engine}, ${threads} threads.`);
      const made = recipe(config);
      const { changes, last = 'sft', seed: fixed } = made;
      const model = modelOf(made);
      const { signal, log } = context;
      const shorter = steps === undefined ? {} : { steps };
      const stages = stagesFolder(context);
      const language = made.language && (await scaledFoundation({ ...made.language, ...shorter }, { folder: stages, base: foundation, signal, log }));
      const hasOwnModel = Object.keys(model).length > 0;
      const graph = stageGraph({ folder: stages, foundation: language?.folder ?? foundation, signal, changes, ...(hasOwnModel ? { config: model } : {}), ...shorter });
      const folder = await graph.stage(last, { seed: fixed ?? seed });
      writeTextAtomically(modelFile(context), JSON.stringify({ stage: basename(folder), ...(language ? { language } : {}) } satisfies Trained));
    },
    measurements: Object.fromEntries(Object.keys(measurements).map((name) => [name, measure(name)])),
  };
}

interface Trained {
  /** Name of the last stage's folder among the shared ones. */
  stage: string;
  language?: ScaledFoundation;
}

const stagesFolder = ({ shared }: TrialContext) => join(shared, 'stages');
const modelFile = ({ folder }: TrialContext) => join(folder, 'model.json');

/** A record keeps summaries; a value for each of hundreds of pictures or questions would make it unreadable. */
function withoutSamples(measured: Measurement): Measurement {
  const { details, ...rest } = measured;
  const kept = details === undefined ? undefined : (prune(details) as object);
  return kept === undefined || Object.keys(kept).length === 0 ? rest : { ...rest, details: kept };
}

function prune(value: unknown): unknown {
  if (Array.isArray(value)) return value.length > 32 ? undefined : value.map(prune);
  if (ArrayBuffer.isView(value)) return undefined;
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).flatMap(([key, child]) => (prune(child) === undefined ? [] : [[key, prune(child)]])));
  return value;
}
