import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { chapterNames } from './chapters.js';
import { recordHash, type Job } from './job.js';

/** Sheets of a job that are committed under data/samples. */
export const samplePictures = ['data', 'foundation', 'joint', 'stages', 'guidance', 'failures'] as const;

/**
 * Copies what a finished main job found to where it is committed: its record, its contact sheets and its executed chapters. Refuses a smoke run, and
 * notebooks that were executed on another record. Gives the files, relative to `root`.
 */
export function publish({ folder, result }: Job, root: string): string[] {
  if (result.smoke) throw new Error(`${folder} is a smoke run, whose numbers mean nothing. Publish a full one: npm start.`);
  const copies: [from: string, to: string][] = [
    [join(folder, 'result.json'), 'experiments/main-job/result.json'],
    ...samplePictures.map((name): [string, string] => [join(folder, 'pictures', `${name}.png`), `data/samples/${name}.png`]),
    ...chapterNames.map((name): [string, string] => [join(folder, 'notebooks', `${name}.ipynb`), `notebooks/${name}.ipynb`]),
  ];
  const missing = copies.filter(([from]) => !existsSync(from)).map(([from]) => from);
  if (missing.length) throw new Error(`${folder} lacks ${missing.length} files, first ${missing[0]}. Run npm start again: it does what is not done yet.`);
  const record = recordHash(result);
  for (const [from] of copies.filter(([, to]) => to.startsWith('notebooks/'))) {
    const other = recordsIn(readFileSync(from, 'utf8')).find((hash) => hash !== record);
    if (other) throw new Error(`${from} was executed on record ${other}, and the job's is ${record}. Run npm start again: it executes the chapters anew.`);
  }
  for (const [from, to] of copies) {
    mkdirSync(join(root, to, '..'), { recursive: true });
    copyFileSync(from, join(root, to));
  }
  // Chapters that are no more would be taken for results of this job.
  for (const name of readdirSync(join(root, 'notebooks'))) {
    if (name.endsWith('.ipynb') && !chapterNames.some((known) => `${known}.ipynb` === name)) rmSync(join(root, 'notebooks', name));
  }
  return copies.map(([, to]) => to);
}

/** The records that an executed notebook names: see `describeJob`. */
export const recordsIn = (notebook: string): string[] => [...new Set([...notebook.matchAll(/Record ([0-9a-f]{16}): seed/g)].map(([, hash]) => hash))];
