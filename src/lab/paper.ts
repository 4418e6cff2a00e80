import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as aq from 'arquero';
import { packageRoot } from '../core/process.js';

/** One printed value of the paper, as data/paper holds it. A value that could not be found has no row. */
export interface PaperValue {
  table: string;
  method: string;
  group: string;
  params: string;
  benchmark: string;
  metric: string;
  higher_is_better: 'true' | 'false' | 'n/a';
  /** As printed; text in recipe rows. */
  value: string;
  note: string;
  source: string;
  confidence: 'high' | 'medium' | 'low';
}

const folder = () => join(packageRoot(), 'data', 'paper');

/** The names of the paper's tables that are kept as data, such as `table3_synergy_ablation`. */
export const paperTableNames = (): string[] =>
  readdirSync(folder())
    .filter((name) => name.endsWith('.csv'))
    .map((name) => name.slice(0, -4))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));

/** One table of the paper as an arquero table. All cells are text, as printed. */
export function paperTable(name: string): aq.ColumnTable {
  if (!paperTableNames().includes(name)) throw new Error(`data/paper has no table "${name}". There are: ${paperTableNames().join(', ')}.`);
  return aq.fromCSV(readFileSync(join(folder(), `${name}.csv`), 'utf8'), { autoType: false });
}

/** An empty cell, such as the metric of a setting, is an empty text. */
export const paperValues = (name: string): PaperValue[] =>
  (paperTable(name).objects() as Record<string, string | null>[]).map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, value ?? ''])) as unknown as PaperValue);
