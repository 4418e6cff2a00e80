import * as aq from 'arquero';
import type { TrialRecord } from './trial.js';

/** One row a measurement value: the sweep's settings as columns beside seed, measurement, metric, value and n. */
export type Row = Record<string, string | number | boolean | null>;

/** A measurement as `eval` gives it; a trial's result is one, a list of them, or a plain number. */
interface MeasurementLike {
  metric: string;
  value: number;
  n?: number;
  ci?: { low: number; high: number };
}

/** Flattens records to rows. A result that is neither a number nor a measurement is an error that names its record. */
export function recordRows(records: readonly TrialRecord[]): Row[] {
  return records.flatMap((record) => {
    const settings = Object.fromEntries(Object.entries(record.config).map(([key, value]) => [key, scalar(value)]));
    return measurementsOf(record).map(
      ({ metric, value, n, ci }): Row => ({
        ...settings,
        seed: record.seed,
        trial: record.trial,
        measurement: record.measurement,
        metric,
        value,
        n: n ?? null,
        ciLow: ci?.low ?? null,
        ciHigh: ci?.high ?? null,
      }),
    );
  });
}

export function measurementsOf({ measurement, trial, result }: Pick<TrialRecord, 'measurement' | 'trial' | 'result'>): MeasurementLike[] {
  if (typeof result === 'number') return [{ metric: measurement, value: result }];
  const list = Array.isArray(result) ? result : [result];
  for (const item of list) {
    if (typeof (item as MeasurementLike)?.metric !== 'string' || typeof (item as MeasurementLike)?.value !== 'number') {
      throw new Error(`Record ${trial}/${measurement}: expected a number or measurements with metric and value, found ${JSON.stringify(item)?.slice(0, 100)}.`);
    }
  }
  return list as MeasurementLike[];
}

const scalar = (value: unknown): string | number | boolean | null =>
  value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : JSON.stringify(value);

/** Records as an arquero table. */
export const toArquero = (records: readonly TrialRecord[]): aq.ColumnTable => aq.from(recordRows(records));

/** Records as a danfojs data frame. It is loaded only here, since it takes more than a second. */
export async function toDanfo(records: readonly TrialRecord[]) {
  const dfd = await import('danfojs-node');
  return new dfd.DataFrame(recordRows(records));
}

/** Mean, sample standard deviation and number of seeds of each setting and metric. A seed counted twice is an error. */
export function bySetting(records: readonly TrialRecord[], settings: readonly string[]): aq.ColumnTable {
  const table = toArquero(records);
  const keys = [...settings, 'metric'];
  const seen = new Set<string>();
  for (const row of table.objects() as Row[]) {
    const name = JSON.stringify([...keys, 'seed'].map((key) => row[key]));
    if (seen.has(name)) throw new Error(`Two values for ${name}: equal seeds must be one trial. Group by every setting that varies.`);
    seen.add(name);
  }
  return table.groupby(...keys).rollup({ mean: aq.op.mean('value'), sd: aq.op.stdev('value'), seeds: aq.op.count() });
}
