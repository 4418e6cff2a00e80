import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeTextAtomically } from '../train/files.js';
import { loadSweep } from '../lab/load-sweep.js';
import { parseFailurePolicy, runLocally } from '../lab/local.js';
import { placeWorkers, roomHere, type Placement } from '../lab/placement.js';
import { collectRecords, describePlan, planSweep, type Plan } from '../lab/plan.js';
import { planSeeds } from '../lab/pilot.js';
import { readRecords } from '../lab/records.js';
import { renderKubernetes, renderParallel } from '../lab/render-jobs.js';
import type { SlurmOptions } from '../lab/slurm.js';
import { trials, type Sweep } from '../lab/sweep.js';
import { failuresOf } from '../lab/trial.js';
import { UsageError, type Arguments, type Command } from './command.js';

const command: Command = {
  name: 'sweep',
  summary: 'Plans and runs a sweep, or goes on with one; a finished trial is never run again.',
  usage: 'FILE --out DIR',
  options: {
    out: { type: 'string', help: 'folder of the sweep: trials, measurements, results.jsonl' },
    shared: { type: 'string', help: 'folder of stages that several sweeps (or a main job) have in common, DIR/shared by default' },
    executor: { type: 'string', help: 'local (default) or slurm; parallel or kubernetes, which are written to --render' },
    'time-limit': { type: 'string', help: 'slurm: minutes a task may take; before they are over it makes a checkpoint and is queued again' },
    sbatch: { type: 'string', multiple: true, help: 'slurm: a further option of sbatch, such as --sbatch=--partition=long (repeatable)' },
    detach: { type: 'boolean', help: 'slurm: return when all is submitted; a job after the last task writes results.jsonl' },
    collect: { type: 'boolean', help: 'write results.jsonl of what is finished, run nothing' },
    render: { type: 'string', help: 'file for the commands (GNU parallel) or the manifest (Kubernetes Indexed Job); nothing is run' },
    image: { type: 'string', help: 'kubernetes: container image with this package at /opt/dreamllm' },
    volume: { type: 'string', help: 'kubernetes: CLAIM:PATH, the shared volume and where pods see it; FILE and --out lie under PATH' },
    pilot: { type: 'string', help: 'results.jsonl of a pilot: say what the planned seeds can show, run nothing' },
    metric: { type: 'string', help: 'pilot: the metric' },
    by: { type: 'string', help: 'pilot: the setting that is compared' },
    against: { type: 'string', help: 'pilot: its value that others are compared with' },
    difference: { type: 'string', help: 'pilot: a difference worth seeing; says how many seeds it takes' },
    workers: { type: 'string', help: 'worker processes: a number, or auto (default of local) for as many as cores and memory allow; 1 by default elsewhere' },
    'on-failure': { type: 'string', help: 'continue (default), stop or retry:N' },
    'dry-run': { type: 'boolean', help: 'print trials, cached ones and expected time, run nothing' },
    ttl: { type: 'string', help: 'seconds after which a silent worker counts as dead, 60 by default' },
    json: { type: 'boolean', help: 'print the plan or the records as JSON' },
  },
  async run({ positionals: [file, ...more], values }, signal) {
    if (!file || more.length) throw new UsageError('sweep takes one FILE. See dreamllm sweep --help.');
    if (typeof values.out !== 'string') throw new UsageError('sweep needs --out DIR, the folder that holds its trials.');
    const executor = values.executor ?? 'local';
    if (!executors.includes(String(executor))) throw new UsageError(`--executor: expected ${executors.join(', ')}, found "${String(executor)}".`);
    const slurmOnly = ['time-limit', 'sbatch', 'detach'].find((name) => values[name] !== undefined);
    if (slurmOnly && executor !== 'slurm') throw new UsageError(`--${slurmOnly} goes with --executor slurm.`);
    const isRendered = executor === 'parallel' || executor === 'kubernetes';
    if (isRendered !== (values.render !== undefined)) throw new UsageError('--render FILE goes with --executor parallel or kubernetes, and they with it.');
    const ttl = 1000 * positive('--ttl', values.ttl ?? '60');
    const policy = usage(() => parseFailurePolicy(String(values['on-failure'] ?? 'continue')));

    const sweep = await loadSweep(file);
    const out = resolve(values.out);
    const shared = typeof values.shared === 'string' ? resolve(values.shared) : undefined;
    const asked = values.workers === undefined ? (executor === 'local' ? 'auto' : 1) : values.workers === 'auto' ? 'auto' : positive('--workers', values.workers);
    if (asked === 'auto' && executor !== 'local') throw new UsageError(`--workers auto is for this machine; say how many trials ${String(executor)} may run at once.`);
    const place = (open: number): Placement => (executor === 'local' ? placeWorkers(asked, open, sweep, roomHere()) : { workers: asked as number, threads: 1 });
    const plan = planSweep(sweep, out, (open) => place(open).workers);
    const placement = place(plan.trials.length - plan.finished.length);
    const { workers } = placement;
    if (typeof values.pilot === 'string') {
      console.log(seedsFromPilot(sweep, values).join('\n'));
      return 0;
    }
    if (typeof values.render === 'string') {
      const attempts = policy.kind === 'retry' ? policy.times + 1 : 1;
      writeFileSync(values.render, render(String(executor), sweep, plan, { file: resolve(file), out, shared, workers, attempts, ttl }, values));
      console.log(`${plan.trials.length - plan.finished.length} trials in ${values.render}`);
      return 0;
    }
    if (values['dry-run']) {
      console.log(values.json ? JSON.stringify(summary(plan)) : describePlan(sweep, plan, workers));
      return 0;
    }
    mkdirSync(out, { recursive: true });
    if (!values.json) console.log(describePlan(sweep, plan, workers));
    if (placement.reason) console.error(placement.reason);

    let succeeded = !values.collect || plan.finished.length === plan.trials.length;
    if (plan.finished.length < plan.trials.length && !values.collect) {
      const previousFailures = Math.max(0, ...trials(sweep).map((trial) => failuresOf(out, trial).length));
      const reports = {
        onFinished: (trial: string) => !values.json && console.log(`finished ${trial}`),
        onFailed: (trial: string, failure: { step: string; error: string }) =>
          console.error(`failed ${trial} in ${failure.step}: ${failure.error}\nIts log and what it made so far: ${join(out, 'trials', trial)}`),
      };
      const options = { file: resolve(file), out, shared, workers, policy, previousFailures, ttl, signal, ...reports };
      if (executor === 'slurm') {
        const { runOnSlurm } = await import('../lab/slurm.js');
        succeeded = await runOnSlurm({ ...options, ...slurmOptions(options.file, out, values) });
        if (values.detach) return succeeded ? 0 : 1;
      } else {
        succeeded = await runLocally({ ...options, ...(workers > 1 ? { threads: placement.threads } : {}) });
      }
    }

    const records = collectRecords(sweep, out);
    writeTextAtomically(join(out, 'results.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
    if (values.json) console.log(JSON.stringify(records));
    else console.log(`${records.length} records in ${join(values.out, 'results.jsonl')}`);
    return succeeded ? 0 : 1;
  },
};

function slurmOptions(file: string, out: string, { 'time-limit': limit, sbatch, detach }: Arguments['values']): Pick<SlurmOptions, 'timeLimit' | 'sbatch' | 'detach'> {
  const command = [process.execPath, ...process.execArgv, process.argv[1], 'sweep', file, '--out', out, '--collect'];
  const onSubmitted = (array: string, collector: string) => console.log(`Submitted as job ${array}; job ${collector} writes ${join(out, 'results.jsonl')} after it.`);
  return {
    sbatch: (sbatch as string[] | undefined) ?? [],
    ...(limit === undefined ? {} : { timeLimit: positive('--time-limit', limit) }),
    ...(detach ? { detach: { command, onSubmitted } } : {}),
  };
}

const executors = ['local', 'slurm', 'parallel', 'kubernetes'];

function render(executor: string, sweep: Sweep, plan: Plan, order: { file: string; out: string; shared?: string; workers: number; attempts: number; ttl: number }, { image, volume }: Arguments['values']): string {
  if (executor === 'parallel') return renderParallel(plan, order);
  const [, volumeClaim, mountPath] = /^([^:]+):(\/.*)$/.exec(String(volume ?? '')) ?? [];
  if (typeof image !== 'string' || !volumeClaim) throw new UsageError('kubernetes needs --image NAME and --volume CLAIM:PATH.');
  const outside = [order.file, order.out, ...(order.shared ? [order.shared] : [])].find((path) => !path.startsWith(mountPath));
  if (outside) throw new UsageError(`${outside} does not lie under ${mountPath}, where pods see the volume. Render on a machine that has it mounted there.`);
  return renderKubernetes(sweep, plan, { ...order, image, volumeClaim, mountPath });
}

function seedsFromPilot(sweep: Sweep, { pilot, metric, by, against, difference }: Arguments['values']): string[] {
  if (typeof metric !== 'string' || typeof by !== 'string') throw new UsageError('--pilot needs --metric and --by, the setting that is compared.');
  // Other settings stay at the sweep's base, so that one seed is one value.
  const where = Object.fromEntries(Object.entries(sweep.base).filter(([key]) => key !== by));
  const wanted = difference === undefined ? {} : { difference: positive('--difference', difference) };
  return planSeeds(readRecords(String(pilot)), { metric, by, where, seeds: sweep.seeds.length, ...(typeof against === 'string' ? { against } : {}), ...wanted });
}

const summary = (plan: ReturnType<typeof planSweep>) => ({
  trials: plan.trials.map(({ hash, config, seed }) => ({ hash, config, seed })),
  finished: plan.finished.length,
  toMeasure: plan.toMeasure.length,
  toTrain: plan.toTrain.length,
  failed: plan.failed.length,
  seconds: plan.seconds,
});

function positive(name: string, text: unknown): number {
  const value = Number(text);
  if (!(value > 0)) throw new UsageError(`${name}: expected a positive number, found "${String(text)}".`);
  return value;
}

/** Turns a complaint about an argument into a `UsageError`. */
function usage<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

export default command;
