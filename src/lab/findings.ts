import { createHash } from 'node:crypto';
import type { Measurement, Protocol } from '../eval/protocol.js';
import { estimate, holm, pairedTest } from '../eval/statistics.js';
import { measurementsOf } from './frames.js';
import { groupsOf, type Group } from './records.js';
import { configurations, type Config, type Sweep } from './sweep.js';
import { digits } from './tables.js';
import type { TrialRecord } from './trial.js';

/** A number that is told of every configuration of a sweep. */
export interface Finding {
  metric: string;
  /** The column's title. Default: the metric. */
  title?: string;
  /** Fields of the protocol that tell measurements of one metric apart. */
  protocol?: Protocol;
  /** Which of two values is the better one; without it the number only describes. */
  better?: 'higher' | 'lower';
}

type Declared = Pick<Sweep, 'name' | 'base' | 'grid' | 'list' | 'seeds'>;

/** One configuration's value of one finding, beside the base configuration. */
interface Cell {
  settings: string;
  value: number;
  /** Half of the 95 % interval over seeds; absent with one seed. */
  half?: number;
  seeds: number;
  /** To the base configuration, over the seeds that both have; absent for itself and with fewer than two. */
  difference?: { value: number; p: number };
}

/**
 * What a sweep's records say, as Markdown: a row a configuration with the mean over seeds of each finding, its interval, and the difference to the base
 * configuration paired by seed; then in words which differences stand out; then the protocols. Says what is missing of the sweep as it is declared.
 */
export function findingsMarkdown(sweep: Declared, findings: readonly Finding[], records: readonly TrialRecord[], file: { name: string; bytes: Uint8Array }): string {
  const settings = varied(sweep);
  const has = ({ metric, protocol = {} }: Finding) =>
    records.some((record) => measurementsOf(record).some((found) => found.metric === metric && Object.entries(protocol).every(([key, wanted]) => String((found as Measurement).protocol?.[key]) === String(wanted))));
  const columns = findings.filter(has).map((finding) => ({ finding, groups: groupsOf(records, settings, finding) }));
  const missing = findings.filter((finding) => !has(finding));
  const base = labelOf(sweep.base, settings);
  const cells = columns.map(({ groups }) => cellsOf(groups, settings, base));
  const rows = configurations(sweep).map((config) => labelOf(config, settings));
  const title = ({ metric, title = metric, better }: Finding) => `${title}${better ? (better === 'higher' ? ' ↑' : ' ↓') : ''}`;
  const lines = rows.map((row) => `| ${row === base ? `**${row}**` : row} | ${cells.map((column) => show(column.get(row))).join(' | ')} |`);
  const seeds = [...new Set(records.map(({ seed }) => seed))].sort((a, b) => a - b);
  const done = new Set(records.map(({ trial }) => trial)).size;
  const planned = rows.length * sweep.seeds.length;
  const hash = createHash('sha256').update(file.bytes).digest('hex').slice(0, 16);
  return [
    `${done} of ${planned} trials, seeds ${seeds.join(', ')}; [${file.name}](${file.name}), SHA-256 \`${hash}\`. Each record names its trial's folder, whose hash covers settings, seed, foundation and code.`,
    '',
    `| ${settings.join(', ')} | ${columns.map(({ finding }) => title(finding)).join(' | ')} |`,
    `| --- |${columns.map(() => ' --- |').join('')}`,
    ...lines,
    '',
    `Means over seeds ± half of the 95 % interval (Student t). In brackets the difference to the row in bold, paired by seed, with the p of the paired t test, corrected over the rows (Holm).`,
    '',
    ...columns.map(({ finding }, i) => `- ${sentence(finding, cells[i], base)}`),
    ...missing.map((finding) => `- ${title(finding)}: not measured yet.`),
    '',
    ...columns.map(({ finding, groups }) => `Protocol of ${finding.title ?? finding.metric}: ${protocolOf(groups)}.`).flatMap((line) => [line, '']),
  ].join('\n').trimEnd();
}

/** The settings in which configurations differ. */
function varied(sweep: Declared): string[] {
  const all = configurations(sweep);
  return Object.keys(sweep.base).filter((key) => new Set(all.map((config) => JSON.stringify(config[key]))).size > 1);
}

const labelOf = (config: Config, settings: readonly string[]): string => settings.map((key) => String(config[key])).join(', ');

function cellsOf(groups: readonly Group[], settings: readonly string[], base: string): Map<string, Cell> {
  const bySettings = new Map(groups.map((group) => [labelOf(group.settings, settings), group.bySeed]));
  const reference = bySettings.get(base);
  const cells = [...bySettings].map(([label, bySeed]): Cell => {
    const { mean, ci } = bySeed.size > 1 ? estimate([...bySeed.values()].map(({ value }) => value)) : { mean: [...bySeed.values()][0].value, ci: undefined };
    const common = label === base || !reference ? [] : [...bySeed.keys()].filter((seed) => reference.has(seed));
    const test = common.length > 1 ? pairedTest(common.map((seed) => reference!.get(seed)!.value), common.map((seed) => bySeed.get(seed)!.value)) : undefined;
    return { settings: label, value: mean, seeds: bySeed.size, ...(ci ? { half: (ci.high - ci.low) / 2 } : {}), ...(test ? { difference: { value: test.difference, p: test.p } } : {}) };
  });
  const tested = cells.filter(({ difference }) => difference);
  holm(tested.map(({ difference }) => difference!.p)).forEach((p, i) => (tested[i].difference!.p = p));
  return new Map(cells.map((cell) => [cell.settings, cell]));
}

function show(cell: Cell | undefined): string {
  if (!cell) return '–';
  const { value, half, seeds, difference } = cell;
  // The same model in every seed, such as the foundation's, differs by rounding at most.
  const mean = half === undefined ? `${digits(value)} (one seed)` : half < 1e-9 ? `${digits(value)} ± 0` : `${digits(value)} ± ${digits(half)}${seeds === 2 ? ' (two seeds)' : ''}`;
  return difference ? `${mean} (${signed(difference.value)}, p = ${digits(difference.p)})` : mean;
}

const signed = (value: number): string => (value < 0 ? `−${digits(-value)}` : `+${digits(value)}`);

/** Which configurations stand out from the base, or that none does. */
function sentence({ metric, title = metric, better }: Finding, cells: ReadonlyMap<string, Cell>, base: string): string {
  const tested = [...cells.values()].flatMap(({ settings, difference }) => (difference ? [{ settings, ...difference }] : []));
  if (tested.length === 0) return `${title}: no configuration can be compared with ${base} yet; it takes two seeds of both.`;
  const clear = tested.filter(({ p }) => p < 0.05);
  if (clear.length === 0) return `${title}: no configuration can be told from ${base} (smallest corrected p ${digits(Math.min(...tested.map(({ p }) => p)))}).`;
  const word = (value: number) => (better ? (value > 0 === (better === 'higher') ? 'better' : 'worse') : value > 0 ? 'higher' : 'lower');
  return `${title}: ${clear.map(({ settings, value }) => `${settings} is ${word(value)}`).join(', ')} than ${base}${clear.length < tested.length ? '; the others cannot be told from it' : ''}.`;
}

/** The protocol that the groups have in common; fields that differ with the settings are named. */
function protocolOf(groups: readonly Group[]): string {
  const protocols = groups.map(({ bySeed }) => [...bySeed.values()][0].protocol);
  const keys = [...new Set(protocols.flatMap((each) => Object.keys(each)))];
  return keys
    .flatMap((key) => {
      const values = [...new Set(protocols.map((each) => each[key]).filter((value) => value !== undefined && value !== null).map(String))];
      return values.length === 0 ? [] : [`${key} ${values.length === 1 ? values[0] : `by row (${values.join(' / ')})`}`];
    })
    .join(', ')
    .replaceAll('\n', ' ');
}
