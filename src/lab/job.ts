import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as aq from 'arquero';
import { packageRoot } from '../core/process.js';
import { type Event, readEvents } from '../train/run-folder.js';
import type { StageName } from '../train/stages.js';
import { contentHash } from './content-hash.js';
import { readJson } from './files.js';
import type { MainResult } from './main-job.js';
import { allMeasurements } from './report.js';
import type { SynergyArm } from './synergy.js';

/** A finished main job: its folder and what it found. Report, notebooks and tables read this and nothing else. */
export interface Job {
  folder: string;
  result: MainResult;
}

/** Opens the folder that `npm start` wrote, by default runs/start. A relative path starts at the package's own folder, wherever a notebook runs. */
export function openJob(path = 'runs/start'): Job {
  const folder = resolve(packageRoot(), path);
  const result = readJson<MainResult>(join(folder, 'result.json'));
  if (!result) throw new Error(`${path} holds no finished job: result.json is missing. Run "npm start", or give the folder that it wrote to.`);
  return { folder, result };
}

/**
 * Names what a job found by its content: trainings by their own hashes, measurements, uses. Times and the machine are no part of it. Notebooks print it, and
 * so does what `npm run reproduce` writes, so that a number can be followed from one to the other.
 */
export const recordHash = ({ seed, stages, foundation, arms, guidance, use }: MainResult): string => contentHash({ seed, stages, foundation, arms, guidance, use });

/** One line that says where a notebook's numbers come from. */
export const describeJob = ({ result }: Job): string =>
  `Record ${recordHash(result)}: seed ${result.seed}${result.smoke ? ', A SMOKE RUN whose numbers mean nothing' : ''}; final model ${result.stages.joint.sft}; protocols in experiments/reproduced/main-job.md.`;

/** A picture of the job as PNG bytes, such as `pictures/joint.png`; a notebook shows them as a picture. */
export const jobPicture = ({ folder }: Job, name: string): Uint8Array => readFileSync(join(folder, name));

/** The logged events of one stage. */
export const stageEvents = ({ folder, result }: Job, name: StageName, arm: SynergyArm = 'joint'): Event[] => readEvents(join(folder, result.stages[arm][name]));

/** Every measurement of the job as a table: model, metric, value, interval, n. */
export function measurementTable(job: Job, ...metrics: string[]): aq.ColumnTable {
  const rows = allMeasurements(job).filter(({ measurement: { metric } }) => metrics.length === 0 || metrics.includes(metric));
  return aq.from(
    rows.map(({ of, measurement: { metric, value, ci, n, protocol } }) => ({
      model: of,
      metric,
      value,
      low: ci?.low ?? null,
      high: ci?.high ?? null,
      n,
      guidance: protocol.guidanceScale ?? null,
      picture: protocol.picture ?? null,
      matcher: protocol.matcher ?? null,
    })),
  );
}
