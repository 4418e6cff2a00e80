import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { writeTextAtomically } from '../train/files.js';
import { loadSweep } from '../lab/load-sweep.js';
import { parseFailurePolicy, runLocally } from '../lab/local.js';
import { collectRecords, describePlan, planSweep } from '../lab/plan.js';
import { trials } from '../lab/sweep.js';
import { failuresOf } from '../lab/trial.js';
import { UsageError, type Command } from './command.js';

const command: Command = {
  name: 'sweep',
  summary: 'Plans and runs a sweep, or goes on with one; a finished trial is never run again.',
  usage: 'FILE --out DIR',
  options: {
    out: { type: 'string', help: 'folder of the sweep: trials, measurements, results.jsonl' },
    executor: { type: 'string', help: 'local (default) or slurm' },
    workers: { type: 'string', help: 'worker processes, 1 by default' },
    'on-failure': { type: 'string', help: 'continue (default), stop or retry:N' },
    'dry-run': { type: 'boolean', help: 'print trials, cached ones and expected time, run nothing' },
    ttl: { type: 'string', help: 'seconds after which a silent worker counts as dead, 60 by default' },
    json: { type: 'boolean', help: 'print the plan or the records as JSON' },
  },
  async run({ positionals: [file, ...more], values }, signal) {
    if (!file || more.length) throw new UsageError('sweep takes one FILE. See dreamllm sweep --help.');
    if (typeof values.out !== 'string') throw new UsageError('sweep needs --out DIR, the folder that holds its trials.');
    const executor = values.executor ?? 'local';
    if (executor !== 'local' && executor !== 'slurm') throw new UsageError(`--executor: expected local or slurm, found "${String(executor)}".`);
    const workers = positive('--workers', values.workers ?? '1');
    const ttl = 1000 * positive('--ttl', values.ttl ?? '60');
    const policy = usage(() => parseFailurePolicy(String(values['on-failure'] ?? 'continue')));

    const sweep = await loadSweep(file);
    const out = resolve(values.out);
    const plan = planSweep(sweep, out, workers);
    if (values['dry-run']) {
      console.log(values.json ? JSON.stringify(summary(plan)) : describePlan(sweep, plan, workers));
      return 0;
    }
    mkdirSync(out, { recursive: true });
    if (!values.json) console.log(describePlan(sweep, plan, workers));

    let succeeded = true;
    if (plan.finished.length < plan.trials.length) {
      const previousFailures = Math.max(0, ...trials(sweep).map((trial) => failuresOf(out, trial).length));
      const reports = {
        onFinished: (trial: string) => !values.json && console.log(`finished ${trial}`),
        onFailed: (trial: string, failure: { step: string; error: string }) => console.error(`failed ${trial} in ${failure.step}: ${failure.error}`),
      };
      if (executor === 'slurm') {
        const { runOnSlurm } = await import('../lab/slurm.js');
        succeeded = await runOnSlurm({ file: resolve(file), out, workers, policy, previousFailures, ttl, signal, ...reports });
      } else {
        succeeded = await runLocally({ file: resolve(file), out, workers, policy, previousFailures, ttl, signal, ...reports });
      }
    }

    const records = collectRecords(sweep, out);
    writeTextAtomically(join(out, 'results.jsonl'), records.map((record) => `${JSON.stringify(record)}\n`).join(''));
    if (values.json) console.log(JSON.stringify(records));
    else console.log(`${records.length} records in ${join(values.out, 'results.jsonl')}`);
    return succeeded ? 0 : 1;
  },
};

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
