import { type Sweep, type Trial, trials } from './sweep.js';
import { failuresOf, isFinished, isTrained, recordOf, secondsOf } from './trial.js';

/** What running a sweep would do, known before anything runs. */
export interface Plan {
  trials: Trial[];
  finished: Trial[];
  /** Trained, but a measurement is missing or has changed. */
  toMeasure: Trial[];
  toTrain: Trial[];
  failed: Trial[];
  /** Expected seconds with `workers` at work; undefined when nothing is known about a trial's length. */
  seconds?: number;
}

/** `workers`: how many, or a function of the trials that are not finished. */
export function planSweep(sweep: Sweep, out: string, workers: number | ((open: number) => number)): Plan {
  const all = trials(sweep);
  const finished = all.filter((trial) => isFinished(out, trial));
  const rest = all.filter((trial) => !finished.includes(trial));
  const toMeasure = rest.filter((trial) => isTrained(out, trial));
  const toTrain = rest.filter((trial) => !toMeasure.includes(trial));
  const failed = rest.filter((trial) => failuresOf(out, trial).length > 0);
  const known = finished.map((trial) => secondsOf(out, trial));
  const meanOf = (of: (each: (typeof known)[number]) => number) => known.reduce((sum, each) => sum + of(each), 0) / known.length;
  // What was measured replaces what was estimated; until then measuring alone is counted as a whole trial.
  const length = known.length > 0 ? meanOf(({ training, measuring }) => training + measuring) : sweep.secondsPerTrial;
  const measuring = known.length > 0 ? meanOf((each) => each.measuring) : length;
  const left = toTrain.length + toMeasure.length;
  const seconds = length === undefined ? undefined : (toTrain.length * length + toMeasure.length * measuring!) / Math.max(1, Math.min(typeof workers === 'number' ? workers : workers(rest.length), left));
  return { trials: all, finished, toMeasure, toTrain, failed, ...(seconds === undefined ? {} : { seconds }) };
}

export function describePlan(sweep: Sweep, plan: Plan, workers: number): string {
  const { trials: all, finished, toMeasure, toTrain, failed, seconds } = plan;
  const time = seconds === undefined ? 'time unknown' : `about ${formatSeconds(seconds)}`;
  return [
    sweep.question,
    `${all.length} trials: ${finished.length} cached, ${toMeasure.length} to measure, ${toTrain.length} to train, ${time} on ${workers} worker${workers === 1 ? '' : 's'}.`,
    ...(failed.length ? [`${failed.length} of them failed before: ${failed.map(({ hash }) => hash).join(', ')}.`] : []),
    ...all.map(({ hash, config, seed }) => {
      const trial = { hash, config, seed } as Trial;
      const state = finished.some((f) => f.hash === hash) ? 'cached ' : toMeasure.some((f) => f.hash === hash) ? 'measure' : 'train  ';
      return `  ${state} ${trial.hash} seed ${seed} ${JSON.stringify(differences(sweep.base, config))}`;
    }),
  ].join('\n');
}

/** The entries of `config` that differ from `base`. */
export function differences(base: Readonly<Record<string, unknown>>, config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(base[key])));
}

export function formatSeconds(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Every record of a sweep that is there, in the order of its trials: what tables and plots are made of. */
export function collectRecords(sweep: Sweep, out: string) {
  return trials(sweep).flatMap((trial) => Object.keys(trial.measurements).flatMap((name) => recordOf(out, trial, name) ?? []));
}
