import { loadSweep } from './load-sweep.js';
import { trials } from './sweep.js';
import { failuresOf, isFinished, runTrial } from './trial.js';

/** How a worker process is told what to do, as JSON in its first argument. */
export interface WorkerOrder {
  file: string;
  out: string;
  worker: string;
  /** Folder of the stages that trials have in common; other sweeps may use it too. Default: `out/shared`. */
  shared?: string;
  /** A trial that has failed this often is left alone. */
  attempts: number;
  /** End at the first failure. */
  stopOnFailure: boolean;
  /** Milliseconds after which a silent holder counts as dead. */
  ttl: number;
  /** Where in the list this worker begins, as a share of it. Neighbours in the list often need the same stages, for which one would wait for the other. */
  from?: number;
  /** Run only these trials, by position (a Slurm array task runs one). */
  only?: number[];
  /** Seconds after which the worker checkpoints and ends, to go on in another process: what a batch system allows, less time to do so. */
  seconds?: number;
}

/** Exit status of a worker whose time was up before its work was. */
export const outOfTime = 75;

/** Claims and runs trials until none is left that anybody could run. Returns the exit status: 0, or 1 when a trial failed. */
export async function work(order: WorkerOrder, signal: AbortSignal): Promise<number> {
  const sweep = await loadSweep(order.file);
  const listed = trials(sweep).filter((_, i) => !order.only || order.only.includes(i));
  const first = Math.floor((order.from ?? 0) * listed.length);
  const all = [...listed.slice(first), ...listed.slice(0, first)];
  const isOpen = (trial: (typeof all)[number]) => !isFinished(order.out, trial) && failuresOf(order.out, trial).length < order.attempts;
  for (;;) {
    let progressed = false;
    for (const trial of all) {
      signal.throwIfAborted();
      if (!isOpen(trial)) continue;
      const state = await runTrial(sweep, trial, { ...order, signal });
      if (state === 'finished') process.send?.({ finished: trial.hash });
      if (state === 'failed') {
        process.send?.({ failed: trial.hash, failure: failuresOf(order.out, trial).at(-1) });
        if (order.stopOnFailure) return 1;
      }
      if (state !== 'held') progressed = true;
    }
    if (!all.some(isOpen)) return all.every((trial) => isFinished(order.out, trial)) ? 0 : 1;
    // What is left is held by others: look again until they finish or their claims grow old.
    if (!progressed) await new Promise((resolve) => setTimeout(resolve, Math.min(1000, order.ttl / 4)));
  }
}
