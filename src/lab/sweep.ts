import { contentHash } from './content-hash.js';

/** What one trial varies: JSON values only, since a trial is named by their hash. */
export type Config = Readonly<Record<string, unknown>>;

/** Where a trial keeps what it makes and how it is told to stop. */
export interface TrialContext {
  /** The trial's own folder: checkpoints, pictures, logs. It survives a crash, so that training can resume. */
  folder: string;
  /** A folder shared by all trials of the sweep, for content-addressed stages (see `stageGraph`). */
  shared: string;
  signal: AbortSignal;
  log(message: string): void;
}

export interface Measure<C extends Config> {
  /** Raise it when the function's meaning changes but not its text. */
  version?: number;
  /** What decides the result besides the trained model, in place of the function's text: hashes of code, sample sizes. */
  identity?: unknown;
  run(config: C, seed: number, context: TrialContext): Promise<unknown>;
}

/**
 * A question, asked by training one model per configuration and seed and measuring it.
 * Training and measuring are hashed apart: a changed measurement is taken again on the trained model.
 */
export interface Sweep<C extends Config = Config> {
  name: string;
  question: string;
  base: C;
  /** Every combination of these values is a configuration. */
  grid?: { readonly [K in keyof C]?: readonly C[K][] };
  /** Or named changes to the base, one configuration each. */
  list?: readonly Partial<C>[];
  seeds: readonly number[];
  /** What decides the result besides config and seed: code version, hashes of data and parent artefacts. */
  identity?: () => Config;
  /** What a configuration comes to, where a function decides it: plain data that names the trial beside its settings. */
  recipe?: (config: C, seed: number) => unknown;
  train(config: C, seed: number, context: TrialContext): Promise<void>;
  measurements: Readonly<Record<string, Measure<C>>>;
  /** Expected seconds of one trial, for the plan; the mean of finished trials replaces it. */
  secondsPerTrial?: number;
  /** Memory in GiB that a worker takes at most, so that no more are placed than fit. */
  memoryPerTrial?: number;
  /** Most workers on one machine; 1 where neighbours would disturb what is measured, such as time. */
  maxWorkers?: number;
}

export interface Trial<C extends Config = Config> {
  /** Names the training: config, seed, identity. */
  hash: string;
  config: C;
  seed: number;
  /** Name of each measurement to the hash of training and measurement together. */
  measurements: Record<string, string>;
}

/** The configurations of a sweep: the grid's combinations or the list's changes on the base. */
export function configurations<C extends Config>({ name, base, grid, list }: Pick<Sweep<C>, 'name' | 'base' | 'grid' | 'list'>): C[] {
  if (grid && list) throw new Error(`Sweep "${name}" has both a grid and a list; it takes one of them.`);
  if (list) return list.map((change) => ({ ...base, ...change }));
  let configs: C[] = [base];
  for (const [key, values] of Object.entries(grid ?? {})) {
    if (!Array.isArray(values) || values.length === 0) throw new Error(`Sweep "${name}": grid.${key} must list at least one value.`);
    configs = configs.flatMap((config) => values.map((value) => ({ ...config, [key]: value })));
  }
  return configs;
}

/** All trials of a sweep in the order they are run: seed by seed, so that every configuration has a first result early. */
export function trials<C extends Config>(sweep: Sweep<C>): Trial<C>[] {
  const repeated = sweep.seeds.find((seed, i) => sweep.seeds.indexOf(seed) !== i);
  if (repeated !== undefined) throw new Error(`Sweep "${sweep.name}" lists seed ${repeated} twice: equal seeds are one trial, not two.`);
  const identity = sweep.identity?.() ?? {};
  const made = sweep.seeds.flatMap((seed) =>
    configurations(sweep).map((config): Trial<C> => {
      const hash = contentHash({ sweep: sweep.name, config, seed, identity, recipe: sweep.recipe?.(config, seed) });
      const measurements = Object.fromEntries(
        Object.entries(sweep.measurements).map(([name, { version, identity: how, run }]) => [name, contentHash({ hash, name, version, ...(how === undefined ? { run } : { identity: how }) })]),
      );
      return { hash, config, seed, measurements };
    }),
  );
  const twice = made.find(({ hash }, i) => made.findIndex((other) => other.hash === hash) !== i);
  if (twice) throw new Error(`Sweep "${sweep.name}" describes ${JSON.stringify(twice.config)} with seed ${twice.seed} twice.`);
  return made;
}
