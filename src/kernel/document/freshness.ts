import { createHash } from 'node:crypto';
import { isCode, sourceOf, type CodeCell, type Notebook } from './notebook.js';

/** What is noted in a code cell's metadata, under `dreamllm`, when it has run to its end. */
export interface Ran {
  /** Hash of the cell and of all code cells before it. Absent where a front end ran the cell. */
  inputs?: string;
  /** Set by `markStale`: why the output may not be what the code gives. */
  stale?: string;
}

export const ranOf = (cell: CodeCell): Ran | undefined => cell.metadata.dreamllm as Ran | undefined;

/** For each code cell, the hash of it and of all code cells before it. */
export function inputHashes(notebook: Notebook): Map<CodeCell, string> {
  const hash = createHash('sha256');
  const hashes = new Map<CodeCell, string>();
  for (const cell of notebook.cells.filter(isCode)) {
    hash.update(sourceOf(cell)).update('\0');
    hashes.set(cell, hash.copy().digest('hex').slice(0, 16));
  }
  return hashes;
}

/** Cells whose outputs the code above and in them need not give any more, with the reason. */
export function staleCells(notebook: Notebook): Map<CodeCell, string> {
  const hashes = inputHashes(notebook);
  const stale = new Map<CodeCell, string>();
  let highest = 0;
  for (const cell of notebook.cells.filter(isCode)) {
    const ran = ranOf(cell);
    const count = cell.execution_count;
    if (ran?.inputs !== undefined && ran.inputs !== hashes.get(cell)) stale.set(cell, 'this cell or one above it was edited after it ran');
    else if (count !== null && count < highest) stale.set(cell, 'it ran before a cell above it');
    highest = Math.max(highest, count ?? 0);
  }
  return stale;
}

/** Writes the marks into the notebook, and removes those that no longer hold. */
export function markStale(notebook: Notebook): void {
  const stale = staleCells(notebook);
  for (const cell of notebook.cells.filter(isCode)) {
    const { stale: _old, ...ran } = ranOf(cell) ?? {};
    const reason = stale.get(cell);
    const marked = reason === undefined ? ran : { ...ran, stale: reason };
    if (Object.keys(marked).length > 0) cell.metadata.dreamllm = marked;
    else delete cell.metadata.dreamllm;
  }
}
