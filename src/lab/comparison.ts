import { column, type Measurement, type Protocol } from '../eval/protocol.js';
import { estimate, pairedTest } from '../eval/statistics.js';
import { type PaperValue, paperValues } from './paper.js';
import type { CellState, Measured, PaperComparison, TableRow } from './tables.js';
import type { TrialRecord } from './trial.js';

/** One row of a paper's table and what stands against it here: a setting of a sweep and one of its metrics. */
export interface Counterpart {
  label: string;
  /** Which printed value it is; absent where the paper has none for this row. */
  paper?: Partial<Pick<PaperValue, 'method' | 'benchmark' | 'metric'>>;
  /** Settings of the sweep that select the trials. */
  where: Readonly<Record<string, unknown>>;
  /** Metric of the measurements to take, as in `Measurement.metric`. */
  metric: string;
  /** Where the number stands in the measurement's details, such as `['abilities', 'l2', 'attribute_reasoning', 'accuracy']`. Default: the value itself. */
  detail?: readonly string[];
  /** Fields of the protocol that tell measurements of one metric apart, such as `{ picture: true }`. */
  protocol?: Protocol;
  higherIsBetter: boolean;
  /** Label of the row whose difference to this one is the paper's claim. */
  against?: string;
}

export interface ComparisonTable {
  title: string;
  /** Name of the paper's table under data/paper. */
  paperTable: string;
  paperModel: string;
  projectModel: string;
  counterparts: readonly Counterpart[];
}

/** Sets a paper's table against a sweep's records. Trends are judged on differences paired by seed, never on the two models' levels. */
export function compare({ title, paperTable, paperModel, projectModel, counterparts }: ComparisonTable, records: readonly TrialRecord[]): PaperComparison {
  const printed = paperValues(paperTable);
  const protocols = new Map<string, string>();
  const found = counterparts.map((counterpart) => {
    const values = valuesBySeed(records, counterpart);
    const paper = counterpart.paper && printed.find((value) => Object.entries(counterpart.paper!).every(([key, wanted]) => value[key as keyof PaperValue] === wanted));
    if (counterpart.paper && !paper) throw new Error(`${paperTable}: no row with ${JSON.stringify(counterpart.paper)} for "${counterpart.label}".`);
    return { counterpart, values, paper };
  });

  const rows = found.map(({ counterpart, values, paper }): TableRow => {
    const reference = found.find((other) => other.counterpart.label === counterpart.against && nameOf(other.counterpart) === nameOf(counterpart));
    return {
      label: counterpart.label,
      metric: nameOf(counterpart),
      ...(paper ? { paper: { value: paper.value, confidence: paper.confidence } } : {}),
      ...(values.size > 0 ? { project: summarise(values, protocols) } : {}),
      state: counterpart.against ? state(values, paper, reference?.values, reference?.paper) : values.size > 0 ? levelState(counterpart, found) : 'not run',
    };
  });
  const notes = [...[...protocols].map(([text, name]) => `protocol ${name}: ${text}`), ...found.flatMap((each) => unpairedNote(each, found))];
  return { title, paperModel, projectModel, rows, notes };
}

/** A metric and the part of it that is meant. */
const nameOf = ({ metric, detail = [] }: Counterpart): string => [metric, ...detail.filter((key) => key !== 'accuracy' && key !== 'abilities')].join(' ');

interface Found {
  counterpart: Counterpart;
  values: ReadonlyMap<number, Measurement>;
}

/** A row that no difference is taken from: others are judged by it, or it stands for itself. */
function levelState({ label, metric, paper }: Counterpart, all: readonly Found[]): CellState {
  if (all.some(({ counterpart }) => counterpart.against === label && counterpart.metric === metric)) return 'reference row';
  return paper ? 'level only, no trend' : 'paper value missing';
}

/** Says which seeds a judgement could not use, because only one of the two rows has them. */
function unpairedNote({ counterpart: { label, metric, against }, values }: Found, all: readonly Found[]): string[] {
  const reference = all.find(({ counterpart }) => counterpart.label === against && counterpart.metric === metric)?.values;
  if (!reference || values.size === 0 || reference.size === 0) return [];
  const alone = [...new Set([...values.keys(), ...reference.keys()])].filter((seed) => !(values.has(seed) && reference.has(seed))).sort((a, b) => a - b);
  return alone.length ? [`${metric}, ${label} against ${against}: seeds ${alone.join(', ')} are on one side alone and were left out of the judgement.`] : [];
}

function valuesBySeed(records: readonly TrialRecord[], { where, metric, protocol = {}, detail }: Counterpart): Map<number, Measurement> {
  const values = new Map<number, Measurement>();
  for (const { config, seed, result } of records) {
    if (!Object.entries(where).every(([key, wanted]) => JSON.stringify(config[key]) === JSON.stringify(wanted))) continue;
    for (const measured of (Array.isArray(result) ? result : [result]) as Measurement[]) {
      if (measured.metric !== metric || !Object.entries(protocol).every(([key, wanted]) => measured.protocol[key] === wanted)) continue;
      if (values.has(seed)) throw new Error(`${metric} at ${JSON.stringify(where)} has two values for seed ${seed}: name the settings that tell them apart.`);
      values.set(seed, detail ? partOf(measured, detail) : measured);
    }
  }
  column([...values.values()]); // one column, one protocol
  return values;
}

/** A number among a measurement's details as a measurement of its own, with the count and interval that stand beside it; those of the value do not hold for it. */
function partOf({ ci: _, ...measured }: Measurement, path: readonly string[]): Measurement {
  let at: unknown = measured.details;
  let beside: unknown;
  for (const key of path) [beside, at] = [at, (at as Record<string, unknown> | undefined)?.[key]];
  if (typeof at !== 'number') throw new Error(`${measured.metric} has no number at details.${path.join('.')}. It was measured before that was kept: run the sweep again, which measures without training.`);
  const { n = measured.n, ci } = beside as Partial<Pick<Measurement, 'n' | 'ci'>>;
  return { ...measured, value: at, n, ...(ci ? { ci } : {}) };
}

function summarise(values: ReadonlyMap<number, Measurement>, protocols: Map<string, string>): Measured {
  const measured = [...values.values()];
  const text = Object.entries(measured[0].protocol)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => `${key} ${String(value)}`)
    .join(', ');
  if (!protocols.has(text)) protocols.set(text, String.fromCharCode(97 + protocols.size));
  const protocol = protocols.get(text)!;
  if (measured.length === 1) {
    const [{ value, ci, n }] = measured;
    return { mean: value, n, over: ci ? `${ci.source}, one seed` : 'samples, one seed', protocol, ...(ci ? { ci: [ci.low, ci.high] as const } : {}) };
  }
  const { mean, ci } = estimate(measured.map(({ value }) => value));
  return { mean, n: measured.length, over: 'seeds', protocol, ...(ci ? { ci: [ci.low, ci.high] as const } : {}) };
}

/** Judges the difference to the reference row by the paper's sign; one seed alone can only be noise. */
function state(values: ReadonlyMap<number, Measurement>, paper: PaperValue | undefined, reference: ReadonlyMap<number, Measurement> | undefined, referencePaper: PaperValue | undefined): CellState {
  if (values.size === 0) return 'not run';
  const expected = Math.sign(Number(paper?.value) - Number(referencePaper?.value));
  if (!paper || Number.isNaN(Number(paper.value))) return 'paper value missing';
  if (!reference || Number.isNaN(expected)) return 'paper value missing';
  if (reference.size === 0) return 'level only, no trend';
  const seeds = [...values.keys()].filter((seed) => reference.has(seed));
  if (seeds.length < 2) return 'within noise';
  const { ci, difference } = pairedTest(
    seeds.map((seed) => reference.get(seed)!.value),
    seeds.map((seed) => values.get(seed)!.value),
  );
  if (ci.low <= 0 && ci.high >= 0) return 'within noise';
  return Math.sign(difference) === expected ? 'reproduced trend' : 'contrary';
}
