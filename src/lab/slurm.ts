import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { siblingModule } from '../core/process.js';
import { loadSweep } from './load-sweep.js';
import type { LocalOptions } from './local.js';
import { trials } from './sweep.js';
import { failuresOf, isFinished } from './trial.js';
import { outOfTime, type WorkerOrder } from './worker.js';

const execute = promisify(execFile);

export interface SlurmOptions extends LocalOptions {
  pollMilliseconds?: number;
  /** Further options of sbatch, such as `--partition=gpu` or `--dependency=afterok:17`. */
  sbatch?: readonly string[];
  /** Minutes that a task may take. One that is not done shortly before makes a checkpoint and puts itself back into the queue. */
  timeLimit?: number;
  /** Return when the array is submitted. This command then runs as a job of its own after all tasks, however they end. */
  detach?: { command: readonly string[]; onSubmitted(array: string, collector: string): void };
}

/**
 * Runs a sweep as one Slurm job array, an index a trial. Slurm's own word is asked only for what is queued or running (`squeue --json`, which
 * needs no database); what finished is read from the trials' folders. A task whose node dies is put back by Slurm (`--requeue`), and the
 * lease keeps a task that was only thought dead from publishing twice.
 */
export async function runOnSlurm(options: SlurmOptions): Promise<boolean> {
  const { file, out, shared, workers, policy, signal, timeLimit, detach } = options;
  const sweep = await loadSweep(file);
  const all = trials(sweep);
  const attempts = options.previousFailures + (policy.kind === 'retry' ? policy.times + 1 : 1);
  const indices = all.flatMap((trial, i) => (isFinished(out, trial) ? [] : [i]));
  if (indices.length === 0) return true;

  const logs = join(out, 'slurm');
  mkdirSync(logs, { recursive: true });
  const script = join(logs, 'array.sh');
  writeFileSync(script, arrayScript({ file, out, shared, attempts, stopOnFailure: policy.kind === 'stop', ttl: options.ttl ?? 60_000, ...(timeLimit === undefined ? {} : { seconds: secondsBefore(timeLimit) }) }));
  const job = await submit([
    ...(timeLimit === undefined ? [] : [`--time=${timeLimit}`]),
    `--array=${compactIndices(indices)}%${workers}`,
    '--requeue',
    '--open-mode=append',
    `--job-name=${sweep.name}`,
    `--output=${join(logs, '%A_%a.log')}`,
    ...(options.sbatch ?? []),
    script,
  ]);
  if (detach) {
    const collect = join(logs, 'collect.sh');
    writeFileSync(collect, `#!/bin/bash\nexec ${detach.command.map(quote).join(' ')}\n`);
    detach.onSubmitted(job, await submit([`--dependency=afterany:${job}`, `--job-name=${sweep.name}-collect`, `--output=${join(logs, '%j.log')}`, collect]));
    return true;
  }

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

/** Hands a script to Slurm. Returns the job's number. */
async function submit(options: readonly string[]): Promise<string> {
  const { stdout } = await execute('sbatch', ['--parsable', ...options]).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`sbatch did not take the job (${error.message.trim()}). Is this a machine of the cluster? Use --executor local otherwise.`);
  });
  return stdout.trim().split(';')[0];
}

/** When to stop within a limit of so many minutes: a minute before, or a third of a short limit. */
export const secondsBefore = (minutes: number): number => Math.round(60 * minutes - Math.min(60, 20 * minutes));

const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

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
  const json = JSON.stringify({ ...order, worker: 'WORKER', only: ['INDEX'] });
  // The index and the worker's name are the task's own, so the shell fills them in.
  const filled = quote(json).replace('"WORKER"', `"slurm.'"$SLURM_JOB_ID.\${SLURM_RESTART_COUNT:-0}"'"`).replace('["INDEX"]', `['"$SLURM_ARRAY_TASK_ID"']`);
  return [
    '#!/bin/bash',
    'set -u',
    `${[process.execPath, ...process.execArgv, program].map(quote).join(' ')} ${filled}`,
    'status=$?',
    // A task of an array is named by the array and its index; its own job number is another.
    `if [ "$status" = ${outOfTime} ]; then exec scontrol requeue "\${SLURM_ARRAY_JOB_ID}_\${SLURM_ARRAY_TASK_ID}"; fi`,
    'exit "$status"',
    '',
  ].join('\n');
}

/** Whether this machine has Slurm's commands. */
export const hasSlurm = (): boolean => (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, 'sbatch')));
