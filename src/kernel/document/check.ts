import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { CellChecker, type Problem } from '../language/checker.js';
import { staleCells } from './freshness.js';
import { isCode, readNotebook, sourceOf, type Notebook } from './notebook.js';
import { fromPercent } from './percent.js';

export interface CheckReport {
  /** Type errors by cell, counted from 1 among all cells. */
  problems: { cell: number; problem: Problem }[];
  /** Cells with outputs that their code need not give any more. */
  stale: { cell: number; reason: string }[];
}

/** Reads a notebook, or the percent-format script of one. */
export function readEither(file: string): Notebook {
  return file.endsWith('.ipynb') ? readNotebook(file) : fromPercent(readFileSync(file, 'utf8'));
}

/** Checks the types of all cells, in order and strictly, and that outputs are those of the code. Nothing is run. */
export function checkNotebook(file: string): CheckReport {
  const notebook = readEither(file);
  const checker = new CellChecker(dirname(resolve(file)));
  try {
    const problems = notebook.cells.flatMap((cell, i) => (isCode(cell) ? checker.review(sourceOf(cell)).map((problem) => ({ cell: i + 1, problem })) : []));
    const stale = [...staleCells(notebook)].map(([cell, reason]) => ({ cell: notebook.cells.indexOf(cell) + 1, reason }));
    return { problems, stale };
  } finally {
    checker.close();
  }
}
