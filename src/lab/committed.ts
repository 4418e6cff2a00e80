import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { sweepFigures } from './experiments/figures.js';
import { mainJobRecords } from './experiments/index.js';
import { readJson } from './files.js';
import type { MainResult } from './main-job.js';
import { readRecords } from './records.js';
import type { TrialRecord } from './trial.js';

/** All records under `experiments`, those of the main job last. */
export function committedRecords(experiments: string): TrialRecord[] {
  const files = Object.keys(sweepFigures).sort().map((name) => join(experiments, name, 'results.jsonl')).filter((file) => existsSync(file));
  const main = readJson<MainResult>(join(experiments, 'main-job', 'result.json'));
  return [...files.flatMap(readRecords), ...(main ? mainJobRecords(main) : [])];
}
