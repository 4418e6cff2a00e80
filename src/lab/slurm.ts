import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { siblingModule } from '../core/process.js';
import { loadSweep } from './load-sweep.js';
import type { LocalOptions } from './local.js';
import { trials } from './sweep.js';
import { failuresOf, isFinished } from './trial.js';
import type { WorkerOrder } from './worker.js';

const execute = promisify(execFile);

/**
 * Runs a sweep as one Slurm job array, an index a trial. Slurm's own word is asked only for what is queued or running (`squeue --json`, which
 * needs no database); what finished is read from the trials' folders. A task whose node dies is put back by Slurm (`--requeue`), and the
 * lease keeps a task that was only thought dead from publishing twice.
 */
export async function runOnSlurm(options: LocalOptions & { pollMilliseconds?: number; sbatch?: readonly string[] }): Promise<boolean> {
  const { file, out, shared, workers, policy, signal } = options;
  const sweep = await loadSweep(file);
  const all = trials(sweep);
  const attempts = options.previousFailures + (policy.kind === 'retry' ? policy.times + 1 : 1);
  const indices = all.flatMap((trial, i) => (isFinished(out, trial) ? [] : [i]));
  if (indices.length === 0) return true;

  const logs = join(out, 'slurm');
  mkdirSync(logs, { recursive: true });
  const script = join(logs, 'array.sh');
  writeFileSync(script, arrayScript({ file, out, shared, attempts, stopOnFailure: policy.kind === 'stop', ttl: options.ttl ?? 60_000 }));
  const { stdout } = await execute('sbatch', [
    '--parsable',
    `--array=${compactIndices(indices)}%${workers}`,
    '--requeue',
    '--open-mode=append',
    `--job-name=${sweep.name}`,
    `--output=${join(logs, '%A_%a.log')}`,
    ...(options.sbatch ?? []),
    script,
  ]).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`sbatch did not take the job (${error.message.trim()}). Is this a machine of the cluster? Use --executor local otherwise.`);
  });
  const job = stdout.trim().split(';')[0];

  const reported = new Set<string>();
  const failures = new Map(all.map((trial) => [trial.hash, failuresOf(out, trial).length]));
  const look = () => {
    for (const trial of all) {
      if (!reported.has(trial.hash) && isFinished(out, trial)) {
        reported.add(trial.hash);
        options.onFinished?.(trial.hash);
      }
      const now = failuresOf(out, trial);
      for (const failure of now.slice(failures.get(trial.hash))) options.onFailed?.(trial.hash, failure);
      failures.set(trial.hash, now.length);
    }
  };
  const cancel = () => void execute('scancel', [job]).catch(() => undefined); // a job that has ended cannot be cancelled
  signal.addEventListener('abort', cancel);
  try {
    do {
      await new Promise((resolve) => setTimeout(resolve, options.pollMilliseconds ?? 2000));
      signal.throwIfAborted();
      look();
      if (policy.kind === 'stop' && [...failures.values()].some((count) => count > options.previousFailures)) cancel();
    } while (await isQueued(job));
    look();
  } finally {
    signal.removeEventListener('abort', cancel);
  }
  return all.every((trial) => isFinished(out, trial));
}

/** `0,1,2,5` as `0-2,5`. */
export function compactIndices(indices: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const index of indices) {
    const last = ranges.at(-1);
    if (last && index === last[1] + 1) last[1] = index;
    else ranges.push([index, index]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
}

/** Whether Slurm still holds any task of the job, whatever its state. */
async function isQueued(job: string): Promise<boolean> {
  try {
    const { stdout } = await execute('squeue', ['--json', '--job', job], { maxBuffer: 64 << 20 });
    const { jobs = [] } = JSON.parse(stdout) as { jobs?: { job_state: string | string[] }[] };
    const over = /COMPLETED|FAILED|CANCELLED|TIMEOUT|DEADLINE|OUT_OF_MEMORY/;
    return jobs.some(({ job_state }) => !over.test(String(job_state)));
  } catch (error) {
    // squeue says so when the job has left its memory; anything else is an error of its own.
    if (/Invalid job id/i.test((error as Error).message)) return false;
    throw error;
  }
}

function arrayScript(order: Omit<WorkerOrder, 'worker' | 'only'>): string {
  const program = siblingModule(import.meta.url, './worker-process');
  const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const json = JSON.stringify({ ...order, worker: 'WORKER', only: ['INDEX'] });
  // The index and the worker's name are the task's own, so the shell fills them in.
  const filled = quote(json).replace('"WORKER"', `"slurm.'"$SLURM_JOB_ID.\${SLURM_RESTART_COUNT:-0}"'"`).replace('["INDEX"]', `['"$SLURM_ARRAY_TASK_ID"']`);
  return ['#!/bin/bash', 'set -eu', `exec ${[process.execPath, ...process.execArgv, program].map(quote).join(' ')} ${filled}`, ''].join('\n');
}

/** Whether this machine has Slurm's commands. */
export const hasSlurm = (): boolean => (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, 'sbatch')));
