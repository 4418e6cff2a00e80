import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../core/process.js';
import type { StageSettings } from './overrides.js';
import { differingKeys, readEvents, type Event } from './run-folder.js';
import type { StageName } from './stages.js';

/**
 * The losses that nano's stages show. `short`: all four stages, one after the other, three steps each, taken again in tests: whatever changes data, layout,
 * losses or kernels shows here. `full`: whole stages, taken from the run folders that trained them.
 */
export interface ReferenceCurves {
  /** Hash of the foundation that the curves belong to. */
  foundation: string;
  short: {
    /** Largest difference relative to the published loss. Engines round in different orders; three steps spread that little. */
    tolerance: number;
    losses: Record<StageName, number[]>;
  };
  full: Partial<Record<StageName, FullCurve>>;
}

/** The loss of a whole stage in equal stretches of steps, and the band that the same stage keeps to with other random numbers. */
export interface FullCurve {
  settings: StageSettings;
  /** First step of each stretch; all have `width` steps but the last. */
  steps: number[];
  width: number;
  /** Mean loss of each stretch, and the bounds for the mean of another run: `bandWidth` standard deviations of the difference of two such means. */
  loss: number[];
  low: number[];
  high: number[];
}

export const referenceFile = join(packageRoot(), 'data/foundation/reference-curves.json');
export const readReferenceCurves = (file = referenceFile): ReferenceCurves => JSON.parse(readFileSync(file, 'utf8')) as ReferenceCurves;

const stretches = 40;
/** Of the difference of two means of stretches, which has twice the variance of one. */
const bandWidth = 3;
/** The band is at least this wide to either side, relative to the loss: a stretch of few steps may look steadier than it is. */
const leastBand = 0.02;

/** The curve of a finished run of a stage. */
export function fullCurve(run: string): { preset: string; parents: string[]; curve: FullCurve } {
  const config = configOf(run);
  if (!config) throw new Error(`${run} holds no run of a stage: its config.json names no stage. Give the folder that "dreamllm train" or the main job wrote.`);
  const { preset, stage: settings, parents } = config;
  if (!existsSync(join(run, 'result.json'))) throw new Error(`${run} is not finished, and a part of a curve is no reference. Go on with it (--resume).`);
  const losses = stepEvents(readEvents(run)).map(({ loss }) => loss as number);
  const width = Math.max(1, Math.ceil(losses.length / stretches));
  const curve: FullCurve = { settings, steps: [], width, loss: [], low: [], high: [] };
  const spread = residualDeviation(losses);
  for (let from = 0; from < losses.length; from += width) {
    const part = losses.slice(from, from + width);
    const mean = meanOf(part);
    const margin = Math.max(bandWidth * spread(from + part.length / 2) * Math.sqrt(2 / part.length), leastBand * mean);
    curve.steps.push(from);
    curve.loss.push(digits(mean));
    curve.low.push(digits(Math.max(0, mean - margin)));
    curve.high.push(digits(mean + margin));
  }
  return { preset, parents, curve };
}

/**
 * How much single losses deviate from a smooth curve near a step: from differences of neighbouring steps, which a trend hardly changes, over the fifth of
 * the run around it. Independent losses differ by √2 of their deviation.
 */
function residualDeviation(losses: readonly number[]): (step: number) => number {
  const reach = Math.max(4, Math.ceil(losses.length / 10));
  return (step) => {
    const from = Math.max(0, Math.min(Math.floor(step) - reach, losses.length - 2 * reach));
    const near = losses.slice(from, from + 2 * reach);
    const squares = near.slice(1).map((loss, i) => (loss - near[i]) ** 2);
    return squares.length === 0 ? 0 : Math.sqrt(meanOf(squares) / 2);
  };
}

/** The reference that a run may be held against: of its stage from the same foundation and with the same settings, whatever the seed. */
export function referenceOf(run: string, references: ReferenceCurves): FullCurve | undefined {
  const config = configOf(run);
  const curve = config?.preset === 'nano' && config.parents.includes(references.foundation) ? references.full[config.stage.name] : undefined;
  return curve && changesOf(curve.settings, config!.stage).length === 0 ? curve : undefined;
}

/** Settings that decide a loss curve and differ. */
export const changesOf = (reference: StageSettings, settings: StageSettings) => differingKeys(decisive(reference), decisive(settings));

function decisive({ seed: _seed, checkpointEvery: _every, keepLast: _last, evaluateEvery: _evaluate, best: _best, ...rest }: StageSettings): object {
  return rest;
}

export interface Comparison {
  /** Stretches that the run has gone through, and those whose mean loss lies within the band. */
  stretches: number;
  inside: number;
  /** First step of the first stretch outside. */
  firstOutside?: number;
}

/** Holds a run's losses against a reference, as far as it has come. */
export function compareWithReference(events: readonly Event[], { steps, width, low, high }: FullCurve): Comparison {
  const losses = new Map(stepEvents(events).map(({ step, loss }) => [step!, loss as number]));
  const result: Comparison = { stretches: 0, inside: 0 };
  steps.forEach((from, i) => {
    const to = steps[i + 1] ?? from + width;
    const part = Array.from({ length: to - from }, (_, j) => losses.get(from + j)).filter((loss) => loss !== undefined);
    const isLast = i === steps.length - 1;
    if (part.length === 0 || (!isLast && part.length < width)) return;
    const mean = meanOf(part);
    result.stretches++;
    if (mean >= low[i] && mean <= high[i]) result.inside++;
    else result.firstOutside ??= from;
  });
  return result;
}

interface StageConfig {
  preset: string;
  stage: StageSettings;
  parents: string[];
}

/** What the config.json of a run says of its stage; undefined for runs of another kind. */
export function configOf(run: string): StageConfig | undefined {
  const file = join(run, 'config.json');
  if (!existsSync(file)) return undefined;
  const { settings } = JSON.parse(readFileSync(file, 'utf8')) as { settings?: Partial<StageConfig> };
  return settings?.stage?.name && settings.preset ? (settings as StageConfig) : undefined;
}

const stepEvents = (events: readonly Event[]) => events.filter(({ type }) => type === 'step');
const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const digits = (value: number) => Number(value.toPrecision(5));
