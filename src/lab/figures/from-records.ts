import { estimate, mean, pairedTest } from '../../eval/statistics.js';
import { type Group, type Selection, groupsOf, pairedValues, protocolDoubts } from '../records.js';
import type { TrialRecord } from '../trial.js';
import { type Bar, bars, radar } from './bars.js';
import { type Curve, curves } from './curves.js';
import { queryMaps } from './query-maps.js';
import { sampleGrid } from './sample-grid.js';
import { pairedDifferences } from './differences.js';
import type { Figure } from './figure.js';
import { pareto } from './pareto.js';

/** Figures as functions of a sweep's records alone. Bands and bars are 95 % Student t intervals over seeds. */

export interface RecordFigureOptions extends Omit<Selection, 'metric'> {
  title?: string;
}

/** A metric against a numeric setting, a curve for each value of `by`. */
export function curveFromRecords(records: readonly TrialRecord[], { metric, x, by, title, ...selection }: RecordFigureOptions & { metric: string; x: string; by?: string }): Figure {
  const groups = groupsOf(records, by ? [by, x] : [x], { metric, ...selection });
  const notNumber = groups.find(({ settings }) => typeof settings[x] !== 'number');
  if (notNumber) throw new Error(`Setting "${x}" is ${JSON.stringify(notNumber.settings[x])} in some records; a curve needs numbers. Draw bars.`);
  const names = by ? [...new Set(groups.map(({ settings }) => nameOf(by, settings[by])))] : [metric];
  const series = names.map((name): Curve => {
    const own = groups.filter(({ settings }) => !by || nameOf(by, settings[by]) === name).sort((a, b) => Number(a.settings[x]) - Number(b.settings[x]));
    const points = own.map(summary);
    const banded = points.every(({ ci }) => ci);
    return {
      name, x: own.map(({ settings }) => Number(settings[x])), y: points.map(({ mean }) => mean),
      ...(banded ? { low: points.map(({ ci }) => ci![0]), high: points.map(({ ci }) => ci![1]) } : {}),
    };
  });
  return withDoubts(curves(title ?? `${metric} against ${x}`, x, metric, series), groups);
}

/** A metric for each value of a setting; `by` makes groups of bars. */
export function barsFromRecords(records: readonly TrialRecord[], { metric, x, by, title, ...selection }: RecordFigureOptions & { metric: string; x: string; by?: string }): Figure {
  const groups = groupsOf(records, by ? [by, x] : [x], { metric, ...selection });
  const names = by ? [...new Set(groups.map(({ settings }) => nameOf(by, settings[by])))] : [metric];
  const rows = names.map((name) => ({
    name,
    bars: groups
      .filter(({ settings }) => !by || nameOf(by, settings[by]) === name)
      .map((group): Bar => {
        const { mean, ci } = summary(group);
        return { label: String(group.settings[x]), value: mean, ...(ci ? { ci } : {}) };
      }),
  }));
  return withDoubts(bars(title ?? `${metric} by ${x}`, metric, rows), groups);
}

/** Two metrics of each setting, means over seeds, with the front of settings that none beats. */
export function paretoFromRecords(
  records: readonly TrialRecord[],
  { x, y, by, title, xHigherIsBetter = false, yHigherIsBetter = true, ...selection }: RecordFigureOptions & { x: string; y: string; by: string; xHigherIsBetter?: boolean; yHigherIsBetter?: boolean },
): Figure {
  const [ofX, ofY] = [groupsOf(records, [by], { metric: x, ...selection }), groupsOf(records, [by], { metric: y, ...selection })];
  const points = ofX.flatMap((group) => {
    const other = ofY.find(({ settings }) => settings[by] === group.settings[by]);
    return other ? [{ label: String(group.settings[by]), x: summary(group).mean, y: summary(other).mean }] : [];
  });
  return withDoubts(pareto(title ?? `${y} against ${x}, by ${by}`, x, y, points, { xHigherIsBetter, yHigherIsBetter }), ofX, 'means');
}

/** Differences of a metric to the setting `against`, paired by seed. Arms without the same seeds are refused. */
export function differencesFromRecords(records: readonly TrialRecord[], { metric, by, against, title, ...selection }: RecordFigureOptions & { metric: string; by: string; against: string }): Figure {
  const groups = groupsOf(records, [by], { metric, ...selection });
  const reference = groups.find(({ settings }) => String(settings[by]) === against);
  if (!reference) throw new Error(`No record has ${by} "${against}"; there are ${groups.map(({ settings }) => String(settings[by])).join(', ')}.`);
  const rows = groups
    .filter((group) => group !== reference)
    .map((group) => {
      const { a, b } = pairedValues(reference, group);
      if (a.length < 2) throw new Error(`${by} "${String(group.settings[by])}" against "${against}" has one seed: a paired difference needs two at least. Run more seeds.`);
      const { difference, ci } = pairedTest(a, b);
      return { label: String(group.settings[by]), differences: b.map((value, i) => value - a[i]), mean: difference, ci: [ci.low, ci.high] as const };
    });
  return withDoubts(pairedDifferences(title ?? `${metric}: difference to ${against}`, `difference of ${metric}`, rows), groups);
}

/** Several metrics, each in [0, 1], around a circle; a polygon a value of `by`. */
export function radarFromRecords(records: readonly TrialRecord[], { metrics, by, title, ...selection }: RecordFigureOptions & { metrics: readonly string[]; by: string }): Figure {
  const byMetric = metrics.map((metric) => groupsOf(records, [by], { metric, ...selection }));
  const names = byMetric[0].map(({ settings }) => String(settings[by]));
  const models = names.map((name) => ({
    name,
    values: byMetric.map((groups, i) => {
      const group = groups.find(({ settings }) => String(settings[by]) === name);
      if (!group) throw new Error(`${by} "${name}" has no value of "${metrics[i]}".`);
      const { mean } = summary(group);
      if (mean < 0 || mean > 1) throw new Error(`${metrics[i]} of "${name}" is ${mean}; a radar shows shares between 0 and 1. Draw bars.`);
      return mean;
    }),
  }));
  return radar(title ?? `Means over seeds, by ${by}`, metrics, models);
}

/** Accuracy of each second-level ability of a multiple-choice measurement, a polygon a value of `by`, means over seeds. */
export function abilitiesFromRecords(records: readonly TrialRecord[], { by, title, ...selection }: RecordFigureOptions & { by: string }): Figure {
  const groups = groupsOf(records, [by], { metric: 'mmbench-circular', ...selection });
  const accuracies = groups.map(({ settings, bySeed }) => ({
    name: nameOf(by, settings[by]),
    abilities: [...bySeed.values()].map(({ details }) => detail<Record<string, { accuracy: number }>>(details, 'abilities', 'l2')),
  }));
  const names = Object.keys(accuracies[0].abilities[0]);
  const models = accuracies.map(({ name, abilities }) => ({ name, values: names.map((ability) => mean(abilities.map((each) => each[ability].accuracy))) }));
  return withDoubts(radar(title ?? `Abilities by ${by}`, names, models), groups, 'means');
}

/** Losses against steps, a curve a value of `by`, with the 95 % interval over seeds at each point as a band. */
export function lossesFromRecords(records: readonly TrialRecord[], { by, loss, title, ...selection }: RecordFigureOptions & { by: string; loss: string }): Figure {
  const groups = groupsOf(records, [by], { metric: 'last-loss', ...selection });
  const series = groups.map(({ settings, bySeed }): Curve => {
    const runs = [...bySeed.values()].map(({ details }) => detail<Record<string, number[]>>(details, 'curve'));
    const [{ step: x }] = runs;
    if (runs.some(({ step }) => String(step) !== String(x))) throw new Error(`${by} "${String(settings[by])}": its seeds were logged at different steps, so they make no band.`);
    const points = x.map((_, i) => (runs.length === 1 ? { mean: runs[0][loss][i] } : estimate(runs.map((run) => run[loss][i]))));
    const banded = points.every((point) => 'ci' in point && point.ci);
    const bound = (side: 'low' | 'high') => points.map((point) => (point as ReturnType<typeof estimate>).ci![side]);
    return { name: nameOf(by, settings[by]), x, y: points.map((point) => point.mean), ...(banded ? { low: bound('low'), high: bound('high') } : {}) };
  });
  return withDoubts(curves(title ?? `${loss} loss`, 'step', 'loss', series), groups);
}

/** What was drawn for the same prompts and noise at each value of `by`, of one seed. */
export function samplesFromRecords(records: readonly TrialRecord[], { by, seed, title, metric = 'fid', ...selection }: RecordFigureOptions & { by: string; seed?: number; metric?: string }): Figure {
  const groups = groupsOf(records, [by], { metric, ...selection });
  const shown = seed ?? Math.min(...[...groups[0].bySeed.keys()]);
  const columns = groups.map(({ settings, bySeed }) => {
    const measured = bySeed.get(shown);
    if (!measured) throw new Error(`${by} "${String(settings[by])}" has no seed ${shown}; it has ${[...bySeed.keys()].join(', ')}.`);
    return { name: nameOf(by, settings[by]), samples: detail<{ prompt: string; png: string }[]>(measured.details, 'samples') };
  });
  const prompts = columns[0].samples.map(({ prompt }) => prompt);
  const odd = columns.find(({ samples }) => samples.some(({ prompt }, i) => prompt !== prompts[i]));
  if (odd) throw new Error(`"${odd.name}" drew other prompts than "${columns[0].name}": pictures side by side must answer the same ones.`);
  const heading = `${title ?? `Samples by ${by}`}<br><span style="font-size:11px">seed ${shown}</span>`;
  return sampleGrid(heading, prompts.map(wrapped), columns.map(({ name }) => name), (row, column) => Buffer.from(columns[column].samples[row].png, 'base64'));
}

/** The queries' mean maps of attention of one seed. No mean is taken over seeds: queries of two trainings have nothing in common but their number. */
export function queryMapsFromRecords(records: readonly TrialRecord[], { seed, title, ...selection }: RecordFigureOptions & { seed?: number } = {}): Figure {
  const [{ bySeed }] = groupsOf(records, [], { metric: 'map-entropy', ...selection });
  const shown = seed ?? Math.min(...bySeed.keys());
  const measured = bySeed.get(shown);
  if (!measured) throw new Error(`There are no maps of seed ${shown}; there are of ${[...bySeed.keys()].join(', ')}.`);
  const heading = `${title ?? 'Where each dream query is looked at'}<br><span style="font-size:11px">seed ${shown}, mean over ${measured.n} prompts</span>`;
  return queryMaps(heading, detail<number[][][]>(measured.details, 'maps'));
}

/** A part of a measurement's details; an error names what is missing. */
function detail<T>(details: unknown, ...path: string[]): T {
  let at = details;
  for (const key of path) at = (at as Record<string, unknown> | undefined)?.[key];
  if (at === undefined) throw new Error(`A record lacks details.${path.join('.')}. It was measured before that was kept: run the sweep again, which measures without training.`);
  return at as T;
}

/** A long name in lines of at most twenty letters, longer words aside. */
const wrapped = (text: string): string => text.replace(/(?:^|(?<=\s))(.{1,20})(?:\s|$)/g, '$1<br>').replace(/<br>$/, '');

function summary({ bySeed }: Group): { mean: number; ci?: readonly [number, number] } {
  const measured = [...bySeed.values()];
  if (measured.length === 1) return { mean: measured[0].value };
  const { mean, ci } = estimate(measured.map(({ value }) => value));
  return { mean, ...(ci ? { ci: [ci.low, ci.high] as const } : {}) };
}

/** Writes under the title how many seeds are behind the numbers, and where their protocols differ beyond the settings that vary. */
function withDoubts(figure: Figure, groups: readonly Group[], shown = '95 % Student t'): Figure {
  const counts = [...new Set(groups.map(({ bySeed }) => bySeed.size))].sort((a, b) => a - b);
  const seeds = `${counts.join(' to ')} seed${counts.at(-1) === 1 ? '' : 's'} each${counts[0] > 1 ? `, ${shown}` : ''}`;
  const scale = [...new Set(groups.flatMap(({ bySeed }) => [...bySeed.values()].map(({ protocol }) => protocol.modelScale)))].filter(Boolean).join(', ');
  const doubts = protocolDoubts(groups);
  const note = [...(scale ? [scale] : []), seeds, ...(doubts.length ? [`protocols also differ in ${doubts.join(', ')}`] : [])].join('; ');
  const { title } = figure.layout as { title: { text: string } };
  return { ...figure, layout: { ...figure.layout, title: { ...title, text: `${title.text}<br><span style="font-size:11px">${note}</span>` }, margin: { ...figure.layout.margin, t: 64 } } };
}

/** `joint` speaks for itself; `true` and `16` need the name of their setting. */
const nameOf = (setting: string, value: unknown): string => (typeof value === 'string' ? value : `${setting} ${String(value)}`);
