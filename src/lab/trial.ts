import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { readJson } from './files.js';
import { writeTextAtomically } from '../train/files.js';
import { claim, type Lease } from './lease.js';
import type { Config, Sweep, Trial, TrialContext } from './sweep.js';

/** One finished measurement of one trial: a line of results.jsonl. */
export interface TrialRecord {
  sweep: string;
  trial: string;
  config: Config;
  seed: number;
  measurement: string;
  hash: string;
  result: unknown;
  seconds: number;
  worker: string;
  token: number;
}

/** How a trial ended when it did not finish. Kept beside its log and partial results. */
export interface Failure {
  attempt: number;
  step: string;
  error: string;
  worker: string;
  time: string;
}

/** What a finished training leaves in the trial's folder. `seconds` are those of the attempt that finished it. */
interface TrainingResult {
  trained: true;
  config: Config;
  seed: number;
  seconds?: number;
}

export type TrialState = 'finished' | 'failed' | 'held' | 'pending';

/** Layout of a sweep's folder. */
export const folders = {
  training: (out: string, trial: Trial) => join(out, 'trials', trial.hash),
  measurement: (out: string, trial: Trial, name: string) => join(out, 'measurements', trial.measurements[name]),
  failures: (out: string, trial: Trial) => join(out, 'trials', trial.hash, 'failures.json'),
  shared: (out: string) => join(out, 'shared'),
};

export const failuresOf = (out: string, trial: Trial): Failure[] => readJson<Failure[]>(folders.failures(out, trial)) ?? [];

/** Seconds that a finished trial took to train and to measure. */
export function secondsOf(out: string, trial: Trial): { training: number; measuring: number } {
  const { seconds = 0 } = readJson<TrainingResult>(join(folders.training(out, trial), 'result.json')) ?? {};
  const measuring = Object.keys(trial.measurements).reduce((sum, name) => sum + (recordOf(out, trial, name)?.seconds ?? 0), 0);
  return { training: seconds, measuring };
}

export const isTrained = (out: string, trial: Trial): boolean => readJson(join(folders.training(out, trial), 'result.json')) !== undefined;

export const recordOf = (out: string, trial: Trial, name: string): TrialRecord | undefined =>
  readJson<TrialRecord>(join(folders.measurement(out, trial, name), 'result.json'));

export const isFinished = (out: string, trial: Trial): boolean => Object.keys(trial.measurements).every((name) => recordOf(out, trial, name));

/**
 * Runs whatever a trial still lacks: its training, then each measurement, each under a lease.
 * 'held' means that another live worker has it. A failure is written down and rethrown by name.
 */
export async function runTrial<C extends Config>(
  sweep: Sweep<C>,
  trial: Trial<C>,
  { out, shared = folders.shared(out), worker, ttl, signal }: { out: string; shared?: string; worker: string; ttl: number; signal: AbortSignal },
): Promise<TrialState> {
  const folder = folders.training(out, trial);
  mkdirSync(folder, { recursive: true });
  mkdirSync(shared, { recursive: true });
  const log = (message: string) => appendFileSync(join(folder, 'log.txt'), `${message}\n`);
  const context: TrialContext = { folder, shared, signal, log };

  let step = 'train';
  try {
    if (!isTrained(out, trial)) {
      const done = await underLease(folder, worker, ttl, async () => {
        const started = performance.now();
        await sweep.train(trial.config, trial.seed, context);
        return { trained: true, config: trial.config, seed: trial.seed, seconds: (performance.now() - started) / 1000 } satisfies TrainingResult;
      });
      if (!done) return isTrained(out, trial) ? 'pending' : 'held';
    }
    for (const [name, { run }] of Object.entries(sweep.measurements)) {
      step = name;
      if (recordOf(out, trial, name)) continue;
      const started = performance.now();
      const done = await underLease(folders.measurement(out, trial, name), worker, ttl, async (lease) => ({
        sweep: sweep.name,
        trial: trial.hash,
        config: trial.config,
        seed: trial.seed,
        measurement: name,
        hash: trial.measurements[name],
        result: await run(trial.config, trial.seed, context),
        seconds: (performance.now() - started) / 1000,
        worker,
        token: lease.token,
      }));
      if (!done && !recordOf(out, trial, name)) return 'held';
    }
    return 'finished';
  } catch (error) {
    if (signal.aborted) throw error;
    const failures = failuresOf(out, trial);
    const text = (error as Error).stack ?? String(error);
    failures.push({ attempt: failures.length + 1, step, error: text, worker, time: new Date().toISOString() });
    writeTextAtomically(folders.failures(out, trial), JSON.stringify(failures, null, 1));
    log(`${step} failed: ${text}`);
    return 'failed';
  }
}

/** Runs `work` while holding the folder's lease; false when the lease was not to be had or was lost on the way. */
async function underLease(folder: string, worker: string, ttl: number, work: (lease: Lease) => Promise<unknown>): Promise<boolean> {
  const lease = claim(folder, worker, ttl);
  if (!lease) return false;
  const heartbeat = setInterval(() => lease.renew(), ttl / 4);
  try {
    const result = await work(lease);
    return lease.commit(result);
  } catch (error) {
    lease.release();
    throw error;
  } finally {
    clearInterval(heartbeat);
  }
}
