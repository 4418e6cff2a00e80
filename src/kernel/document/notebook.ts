import { createHash } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { displayName, kernelName, languageInfo } from '../kernel-command.js';
import { faultsOf } from './schema.js';

type Text = string | string[];

export type Output =
  | { output_type: 'stream'; name: string; text: Text }
  | { output_type: 'display_data'; data: Record<string, unknown>; metadata: object }
  | { output_type: 'execute_result'; data: Record<string, unknown>; metadata: object; execution_count: number | null }
  | { output_type: 'error'; ename: string; evalue: string; traceback: string[] };

export interface CellMetadata {
  tags?: string[];
  [key: string]: unknown;
}

export interface TextCell {
  cell_type: 'markdown' | 'raw';
  id: string;
  metadata: CellMetadata;
  source: Text;
  attachments?: object;
}

export interface CodeCell {
  cell_type: 'code';
  id: string;
  metadata: CellMetadata;
  source: Text;
  outputs: Output[];
  execution_count: number | null;
}

export type Cell = TextCell | CodeCell;

export interface Notebook {
  nbformat: 4;
  nbformat_minor: number;
  metadata: { kernelspec?: { name: string; display_name: string; language?: string }; language_info?: { name: string }; [key: string]: unknown };
  cells: Cell[];
}

/** A file that is no notebook this project can work with. The message says what was expected. */
export class BadNotebook extends Error {
  override readonly name = 'BadNotebook';
}

export const sourceOf = ({ source }: { source: Text }): string => (typeof source === 'string' ? source : source.join(''));

export const isCode = (cell: Cell): cell is CodeCell => cell.cell_type === 'code';

export const hasTag = (cell: Cell, tag: string): boolean => cell.metadata.tags?.includes(tag) ?? false;

/** Text as notebooks store it, one string a line, so that differences are readable. */
export const asLines = (text: string): string[] => (text === '' ? [] : text.split(/(?<=\n)/));

export function emptyNotebook(cells: Cell[] = []): Notebook {
  return {
    cells,
    metadata: { kernelspec: { display_name: displayName, language: 'typescript', name: kernelName }, language_info: languageInfo },
    nbformat: 4,
    nbformat_minor: 5,
  };
}

/** Reads a notebook of format 4. Cells of files older than 4.5 get ids. */
export function readNotebook(path: string): Notebook {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new BadNotebook(`Cannot read ${path}: ${(error as Error).message}`);
  }
  let value: Partial<Notebook> | null;
  try {
    value = JSON.parse(text) as Partial<Notebook>;
  } catch (error) {
    throw new BadNotebook(`${path} is not JSON, so not a notebook: ${(error as Error).message}. Percent-format sources are turned into notebooks by "dreamllm notebook pair".`);
  }
  if (typeof value !== 'object' || value === null || !('nbformat' in value)) throw new BadNotebook(`${path} is JSON but not a notebook: "nbformat" is missing.`);
  if (value.nbformat !== 4) throw new BadNotebook(`${path} has notebook format ${String(value.nbformat)}; expected 4. Open and save it in a current front end to convert it.`);
  if ((value.nbformat_minor ?? 0) < 5 && Array.isArray(value.cells)) {
    value.nbformat_minor = 5;
    const ids = new Set<string>();
    for (const cell of value.cells) cell.id ??= newId(sourceOf(cell), ids);
  }
  const faults = faultsOf(value);
  if (faults.length > 0) throw new BadNotebook(`${path} is not a valid notebook: ${faults.slice(0, 3).join('; ')}${faults.length > 3 ? ` and ${faults.length - 3} more` : ''}.`);
  return value as Notebook;
}

/** Writes a notebook so that the file is there whole or as it was before. */
export function writeNotebook(path: string, notebook: Notebook): void {
  writeText(path, `${JSON.stringify(notebook, null, 1)}\n`);
}

export function writeText(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, text);
  renameSync(temporary, path);
}

/** An id that follows from the source, so that making a notebook again makes the same one. */
export function newId(source: string, taken: Set<string>): string {
  const base = createHash('sha256').update(source).digest('hex').slice(0, 8);
  let id = base;
  for (let n = 2; taken.has(id); n++) id = `${base}-${n}`;
  taken.add(id);
  return id;
}

/** Removes what running a notebook added: outputs, counts, provenance, injected parameters. */
export function strip(notebook: Notebook): Notebook {
  const { dreamllm: _provenance, ...metadata } = notebook.metadata;
  const cells = notebook.cells
    .filter((cell) => !hasTag(cell, 'injected-parameters'))
    .map((cell): Cell => {
      const { dreamllm: _ran, execution: _times, ...kept } = cell.metadata;
      return isCode(cell) ? { ...cell, metadata: kept, outputs: [], execution_count: null } : { ...cell, metadata: kept };
    });
  return { ...notebook, metadata, cells };
}
