import { existsSync, readFileSync } from 'node:fs';
import { column, protocolDifference, type Measurement, type Protocol } from '../eval/protocol.js';
import { measurementsOf } from './frames.js';
import type { TrialRecord } from './trial.js';

/** Reads the `results.jsonl` of a sweep. A broken line is an error that names it. */
export function readRecords(file: string): TrialRecord[] {
  if (!existsSync(file)) throw new Error(`${file} does not exist. A sweep writes it: dreamllm sweep experiments/NAME/sweep.ts --out DIR.`);
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line, i): TrialRecord[] => {
      if (!line.trim()) return [];
      let record: Partial<TrialRecord>;
      try {
        record = JSON.parse(line) as Partial<TrialRecord>;
      } catch (error) {
        throw new Error(`${file}, line ${i + 1}: expected the JSON of one record, found ${(error as Error).message}. Run the sweep again: it writes the file anew.`);
      }
      if (typeof record.sweep !== 'string' || typeof record.seed !== 'number' || typeof record.config !== 'object' || !('result' in record)) {
        throw new Error(`${file}, line ${i + 1}: expected a record with sweep, config, seed and result, found keys ${Object.keys(record).join(', ')}.`);
      }
      return [record as TrialRecord];
    });
}

/** Which numbers of the records are meant. */
export interface Selection {
  metric: string;
  /** Settings that trials must have. */
  where?: Readonly<Record<string, unknown>>;
  /** Fields that the measurement's protocol must have. */
  protocol?: Protocol;
}

/** One combination of settings and its values, a seed each, all measured in one way. */
export interface Group {
  settings: Readonly<Record<string, unknown>>;
  bySeed: ReadonlyMap<number, Measurement>;
}

/**
 * The chosen numbers, grouped by `settings` in the order in which they first appear. Two values for one seed of a group are refused, as are two
 * protocols in it. What protocols of different groups differ in is what the sweep varies, or `protocolDoubts` says so.
 */
export function groupsOf(records: readonly TrialRecord[], settings: readonly string[], { metric, where = {}, protocol = {} }: Selection): Group[] {
  const groups = new Map<string, { settings: Record<string, unknown>; bySeed: Map<number, Measurement> }>();
  const known = new Set<string>();
  for (const record of records) {
    for (const measured of measurementsOf(record)) known.add(measured.metric);
    if (!Object.entries(where).every(([key, wanted]) => String(record.config[key]) === String(wanted))) continue;
    for (const found of measurementsOf(record)) {
      const measured = { protocol: {}, n: 1, ...found } as Measurement;
      if (measured.metric !== metric || !Object.entries(protocol).every(([key, wanted]) => String(measured.protocol[key]) === String(wanted))) continue;
      const chosen = Object.fromEntries(settings.map((key) => [key, record.config[key]]));
      const missing = settings.find((key) => !(key in record.config));
      if (missing) throw new Error(`Record ${record.trial} has no setting "${missing}"; it has ${Object.keys(record.config).join(', ')}.`);
      const name = JSON.stringify(chosen);
      const group = groups.get(name) ?? { settings: chosen, bySeed: new Map<number, Measurement>() };
      groups.set(name, group);
      if (group.bySeed.has(record.seed)) {
        throw new Error(`${metric} has two values for ${name} and seed ${record.seed}: equal seeds are one trial. Group by every setting that varies, or choose with --where and --protocol.`);
      }
      group.bySeed.set(record.seed, measured);
    }
  }
  if (groups.size === 0) throw new Error(`No value of "${metric}" with ${JSON.stringify({ ...where, ...protocol })} in ${records.length} records. There are ${[...known].join(', ') || 'none'}.`);
  for (const { bySeed } of groups.values()) column([...bySeed.values()]);
  return [...groups.values()];
}

/** A setting may change these fields of a protocol under another name. */
const sameAs: Readonly<Record<string, string>> = { bestOf: 'selection' };

/** Fields of the protocol in which groups differ although no setting of that name does: a reader must see them beside the numbers. */
export function protocolDoubts(groups: readonly Group[]): string[] {
  const [first, ...rest] = groups.map(({ settings, bySeed }) => ({ settings, protocol: [...bySeed.values()][0].protocol }));
  const fields = new Set<string>();
  for (const other of rest) for (const { field } of protocolDifference(first.protocol, other.protocol)) fields.add(field);
  const swept = Object.keys(first.settings).flatMap((key) => [key, sameAs[key] ?? key]);
  return [...fields].filter((field) => !swept.includes(field));
}

/** Values of two groups by their common seeds. Seeds that one lacks are an error: such a comparison is not paired. */
export function pairedValues(a: Group, b: Group): { seeds: number[]; a: number[]; b: number[] } {
  const [ofA, ofB] = [[...a.bySeed.keys()], [...b.bySeed.keys()]];
  const alone = [...ofA.filter((seed) => !b.bySeed.has(seed)), ...ofB.filter((seed) => !a.bySeed.has(seed))];
  if (alone.length) {
    throw new Error(`${JSON.stringify(a.settings)} and ${JSON.stringify(b.settings)} are not paired: seeds ${alone.join(', ')} are on one side alone. Run the missing trials, or leave these seeds out.`);
  }
  const seeds = ofA.sort((x, y) => x - y);
  return { seeds, a: seeds.map((seed) => a.bySeed.get(seed)!.value), b: seeds.map((seed) => b.bySeed.get(seed)!.value) };
}
