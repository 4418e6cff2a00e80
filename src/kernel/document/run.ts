import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { KernelClient, KernelDied } from '../client/kernel-client.js';
import { kernelName } from '../kernel-command.js';
import { declaredNames, usedNames } from '../language/names-of.js';
import { inputHashes, ranOf } from './freshness.js';
import { BadNotebook, hasTag, isCode, readNotebook, sourceOf, writeNotebook, type CodeCell, type Notebook } from './notebook.js';
import { OutputCollector, type Displays } from './outputs.js';
import { injectParameters } from './parameters.js';
import { provenance } from './provenance.js';

export interface RunOptions {
  /** Where the executed notebook goes; the file itself by default. */
  out?: string;
  parameters?: Record<string, unknown>;
  /** Seconds a cell may take. No limit by default. */
  timeout?: number;
  /** Goes on where an earlier run into the same file ended. */
  resume?: boolean;
  /** Runs the cells after a failed one too. */
  keepGoing?: boolean;
  /** Interrupts the running cell and ends the run. What has run is saved. */
  signal?: AbortSignal;
  onProgress?(line: string): void;
  env?: NodeJS.ProcessEnv;
}

export interface CellFailure {
  /** Position among all cells, counting from 1. */
  cell: number;
  ename: string;
  evalue: string;
}

const interruptPatience = 15_000; // milliseconds; the kernel itself gives an interrupted cell ten seconds to clean up

/**
 * Runs a notebook from top to bottom in a kernel of its own and saves it after every cell. Returns the failures; a cell
 * tagged `raises-exception` may fail. Rejects when the notebook or the parameters are bad.
 */
export async function runNotebook(file: string, options: RunOptions = {}): Promise<CellFailure[]> {
  const { out = file, parameters = {}, onProgress = () => {}, signal } = options;
  const notebook = readNotebook(file);
  const wanted = notebook.metadata.kernelspec?.name ?? kernelName;
  // Notebooks of tslab are TypeScript too, and run here unchanged.
  if (wanted !== kernelName && wanted !== 'tslab') {
    const remedy = `Choose "${kernelName}" in the notebook's metadata, or run it with Jupyter's own tools.`;
    throw new BadNotebook(`${file} wants the kernel "${wanted}"; this command runs "${kernelName}". ${remedy}`);
  }
  injectParameters(notebook, parameters, file);
  const cwd = dirname(resolve(file));
  const plan = options.resume ? resumePlan(notebook, out) : new Map(codeCells(notebook).map((cell) => [cell, 'run'] as const));
  const hashes = inputHashes(notebook);
  notebook.metadata.dreamllm = provenance(cwd, parameters);
  for (const [cell, action] of plan) if (action === 'run') Object.assign(cell, { outputs: [], execution_count: null, metadata: withoutRan(cell) });
  writeNotebook(out, notebook);

  const kernel = await KernelClient.start({ cwd, ...(options.env ? { env: options.env } : {}) });
  const failures: CellFailure[] = [];
  const displays: Displays = new Map();
  const total = notebook.cells.length;
  try {
    for (const [cell, action] of plan) {
      const number = notebook.cells.indexOf(cell) + 1;
      if (action === 'keep') {
        onProgress(`cell ${number}/${total}: kept`);
        continue;
      }
      const collector = new OutputCollector(cell, displays);
      await runCell(kernel, cell, collector, options);
      collector.finish();
      const { error } = collector;
      if (!error) cell.metadata.dreamllm = { inputs: hashes.get(cell) };
      writeNotebook(out, notebook);
      onProgress(`cell ${number}/${total}: ${error ? `${error.ename}: ${error.evalue}` : action === 'replay' ? 'ran again for what it declares' : 'ok'}`);
      if (!error || hasTag(cell, 'raises-exception')) continue;
      failures.push({ cell: number, ename: error.ename, evalue: error.evalue });
      if (!options.keepGoing || !kernel.isRunning || signal?.aborted) break;
    }
    return failures;
  } finally {
    await kernel.close();
  }
}

/** Runs one cell. Whatever ends it, `collector` knows: an error of the cell, the time limit, or the kernel's death. */
async function runCell(kernel: KernelClient, cell: CodeCell, collector: OutputCollector, { timeout, signal }: RunOptions): Promise<void> {
  const fail = (ename: string, evalue: string) => collector.fail({ ename, evalue, traceback: [`${ename}: ${evalue}`] });
  if (signal?.aborted) return fail('Interrupted', 'the run was interrupted');
  const ended = new AbortController();
  try {
    const running = kernel.execute(sourceOf(cell), (message) => collector.receive(message)).then(() => 'done' as const);
    const limits: Promise<'done' | 'late' | 'aborted'>[] = [running];
    if (timeout !== undefined) limits.push(sleep(1000 * timeout, 'late' as const, { signal: ended.signal }).catch(() => 'done' as const));
    if (signal) limits.push(aborted(signal, ended.signal));
    const first = await Promise.race(limits);
    if (first === 'done') return;

    await kernel.interrupt();
    const stopped = await Promise.race([running, sleep(interruptPatience, 'stuck' as const, { signal: ended.signal })]);
    if (stopped === 'stuck') kernel.process.kill('SIGKILL');
    const end = stopped === 'stuck' ? ', and the cell could not be interrupted; its kernel was ended' : '';
    if (first === 'late') fail('CellTimeout', `the cell took more than ${timeout} s${end}`);
    else fail('Interrupted', `the run was interrupted${end}`);
  } catch (error) {
    if (!(error instanceof KernelDied)) throw error;
    fail(error.name, error.message);
  } finally {
    ended.abort();
  }
}

function aborted(signal: AbortSignal, ended: AbortSignal): Promise<'aborted'> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve('aborted');
    else signal.addEventListener('abort', () => resolve('aborted'), { once: true, signal: ended });
  });
}

const codeCells = (notebook: Notebook) => notebook.cells.filter((cell): cell is CodeCell => isCode(cell) && sourceOf(cell).trim() !== '');

function withoutRan(cell: CodeCell): CodeCell['metadata'] {
  const { dreamllm: _ran, ...metadata } = cell.metadata;
  return metadata;
}

/**
 * What to do with each cell when a run is resumed. Cells up to the first that is unfinished or edited are kept with their
 * outputs. A kernel's memory is gone with it, so those whose names later cells need, also by way of others, run again.
 */
function resumePlan(notebook: Notebook, out: string): Map<CodeCell, 'keep' | 'replay' | 'run'> {
  const plan = new Map<CodeCell, 'keep' | 'replay' | 'run'>();
  const before = existsSync(out) ? codeCells(readNotebook(out)) : [];
  const cells = codeCells(notebook);
  const hashes = inputHashes(notebook);
  const firstUnfinished = cells.findIndex((cell, i) => before[i] === undefined || ranOf(before[i])?.inputs !== hashes.get(cell));
  const finished = firstUnfinished < 0 ? cells.length : firstUnfinished;

  const needed = new Set(cells.slice(finished).flatMap((cell) => [...usedNames(sourceOf(cell))]));
  for (let i = cells.length - 1; i >= 0; i--) {
    const cell = cells[i];
    if (i >= finished) plan.set(cell, 'run');
    else {
      Object.assign(cell, { outputs: before[i].outputs, execution_count: before[i].execution_count, metadata: before[i].metadata });
      const source = sourceOf(cell);
      const replay = [...declaredNames(source)].some((name) => needed.has(name));
      if (replay) for (const name of usedNames(source)) needed.add(name);
      plan.set(cell, replay ? 'replay' : 'keep');
    }
  }
  return new Map([...plan].reverse());
}
