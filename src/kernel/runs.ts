import { spawn } from 'node:child_process';
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readFileSync, readSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';
import { displayHook, type Bundle } from './display/bundle.js';
import { newDisplayId, publishBundle } from './display/display.js';
import { figureBundle, plotlyType } from './display/figure.js';
import { interruptSignal } from './display/hooks.js';
import { escapeHtml } from './display/html.js';
import { siblingModule } from './start-worker.js';
import { type Figure } from './figures/plotly.js';

/**
 * A run is a process of its own with a folder of its own: `config.json`, written at its start, `events.jsonl`, one JSON
 * object a line, and `result.json`, written at its end. A notebook only reads them, so closing it or killing its kernel
 * costs nothing, and attaching again shows the same.
 */
export interface RunEvent {
  type: string;
  step?: number;
  [field: string]: unknown;
}

export type RunState = 'running' | 'finished' | 'stopped';

const pollInterval = 250; // milliseconds

/** A view of a run folder. It holds the events read so far; `refresh` reads on. */
export class AttachedRun {
  readonly config: Record<string, unknown>;
  private readonly known: RunEvent[] = [];
  private offset = 0;
  private readonly detaching = new AbortController();

  constructor(readonly folder: string) {
    const file = join(folder, 'config.json');
    if (!existsSync(file)) throw new Error(`${folder} holds no run: ${file} is missing. Start one with startRun, or with "dreamllm train … --out ${folder}".`);
    this.config = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    this.refresh();
  }

  /** Events in order. Steps that a resumed run took again appear once, as taken last. */
  get events(): readonly RunEvent[] {
    return this.known;
  }

  /** What the run reported at its end. */
  get result(): Record<string, unknown> | undefined {
    const file = join(this.folder, 'result.json');
    return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>) : undefined;
  }

  get state(): RunState {
    if (existsSync(join(this.folder, 'result.json'))) return 'finished';
    return isLocked(join(this.folder, 'lock')) ? 'running' : 'stopped';
  }

  /** Reads what was appended since. A line that is not yet whole waits for its end. */
  refresh(): readonly RunEvent[] {
    const file = join(this.folder, 'events.jsonl');
    if (!existsSync(file)) return [];
    const added: RunEvent[] = [];
    for (const line of this.readOn(file)) {
      const event = JSON.parse(line) as RunEvent;
      if (event.type === 'resume') this.forgetFrom(event.step ?? 0);
      this.known.push(event);
      added.push(event);
    }
    return added;
  }

  /** Yields the events so far and then each new one, until the run ends, `detach` is called or the cell is interrupted. */
  async *follow(): AsyncGenerator<RunEvent> {
    const signal = AbortSignal.any([this.detaching.signal, interruptSignal()]);
    yield* [...this.known];
    while (!signal.aborted) {
      const { state } = this; // read before the events, so that none written before the end is missed
      yield* this.refresh();
      if (state !== 'running') return;
      await setTimeout(pollInterval, undefined, { signal }).catch(() => {}); // aborted: the loop ends
    }
  }

  /** Shows a card and a chart that follow the run. Resolves as `follow` ends; the run itself goes on. */
  async show({ fields }: { fields?: string[] } = {}): Promise<void> {
    const [card, chart] = [newDisplayId(), newDisplayId()];
    publishBundle('display_data', cardOf(this), card);
    publishBundle('display_data', { [plotlyType]: curves(this, fields), 'text/plain': '' }, chart);
    let drawnAt = performance.now();
    for await (const _event of this.follow()) {
      if (performance.now() - drawnAt < 2 * pollInterval) continue;
      drawnAt = performance.now();
      publishBundle('update_display_data', cardOf(this), card);
      publishBundle('update_display_data', { [plotlyType]: curves(this, fields), 'text/plain': '' }, chart);
    }
    publishBundle('update_display_data', cardOf(this), card);
    publishBundle('update_display_data', await figureBundle(curves(this, fields)), chart);
  }

  /** Ends `follow` and `show`. The run does not notice. */
  detach(): void {
    this.detaching.abort();
  }

  [displayHook](): Bundle {
    this.refresh();
    return cardOf(this);
  }

  /** The whole lines after those already read. */
  private readOn(file: string): string[] {
    const descriptor = openSync(file, 'r');
    try {
      const bytes = Buffer.alloc(fstatSync(descriptor).size - this.offset);
      const read = bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, this.offset));
      const end = read.lastIndexOf(10) + 1;
      this.offset += end;
      return read.toString('utf8', 0, end).split('\n').slice(0, -1);
    } finally {
      closeSync(descriptor);
    }
  }

  private forgetFrom(step: number): void {
    for (let i = this.known.length - 1; i >= 0; i--) if ((this.known[i].step ?? -1) >= step) this.known.splice(i, 1);
  }
}

/** Opens a run folder for reading; see `AttachedRun`. */
export function attachRun(folder: string): AttachedRun {
  return new AttachedRun(resolve(folder));
}

/**
 * Starts `dreamllm train …` as a process that outlives this one, and attaches to its folder, which the arguments name by
 * `--out`. What it prints goes to `process.log` there. Rejects with the end of that log if it fails before it has begun.
 */
export async function startRun(args: string[]): Promise<AttachedRun> {
  const out = args[args.indexOf('--out') + 1];
  if (!args.includes('--out') || out === undefined) throw new Error('startRun needs "--out", DIR among the arguments: the run lives there.');
  const folder = resolve(out);
  mkdirSync(folder, { recursive: true });
  const log = openSync(join(folder, 'process.log'), 'a');
  const program = [...process.execArgv, siblingModule(import.meta.url, '../cli/main'), 'train', ...args];
  const child = spawn(process.execPath, program, { detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  const ended = new Promise<string>((done) => {
    child.once('error', (error) => done(error.message));
    child.once('exit', (code, signal) => done(`it ended with ${signal ?? `status ${code}`}`));
  });
  child.unref();
  for (;;) {
    const how = await Promise.race([ended, setTimeout(50)]);
    if (existsSync(join(folder, 'config.json'))) return attachRun(folder);
    if (typeof how === 'string') throw new Error(`The run did not start: ${how}.\n${readFileSync(join(folder, 'process.log'), 'utf8').slice(-2000)}`);
  }
}

/** The lock of a run names the process that writes it. One on another machine cannot be looked at and is believed. */
function isLocked(file: string): boolean {
  if (!existsSync(file)) return false;
  const { pid, host } = JSON.parse(readFileSync(file, 'utf8')) as { pid: number; host?: string };
  if (host !== undefined && host !== hostname()) return true;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'; // alive, but another user's
  }
}

function lastStep(run: AttachedRun): RunEvent | undefined {
  return run.events.findLast(({ type, step }) => type === 'step' && step !== undefined);
}

/** Fields that measure the machine, not the model, or are the axis. */
const notMetrics = ['step', 'time', 'ms', 'samplesPerSecond', 'tensors'];

function numbersOf(event: RunEvent | undefined): [string, number][] {
  return Object.entries(event ?? {}).filter((field): field is [string, number] => typeof field[1] === 'number' && !notMetrics.includes(field[0]));
}

/** The state of a run at a glance. Without times, so that a saved notebook does not change when it is run again. */
function cardOf(run: AttachedRun): Bundle {
  const name = run.folder.split(/[\\/]/).at(-1) as string;
  const step = lastStep(run);
  const rows: [string, string][] = [['state', run.state]];
  if (step) rows.push(['step', String(step.step)]);
  for (const [key, value] of numbersOf(step)) rows.push([key, String(Number(value.toPrecision(4)))]);
  const cells = rows.map(([key, value]) => `<tr><th style="text-align:left">${escapeHtml(key)}</th><td style="text-align:left">${escapeHtml(value)}</td></tr>`);
  return {
    'text/html': `<table>\n<caption>run ${escapeHtml(name)}</caption>\n${cells.join('\n')}\n</table>`,
    'text/plain': `run ${name}: ${rows.map(([key, value]) => `${key} ${value}`).join(', ')}`,
  };
}

/** A line for each field over the steps; by default for those called a loss. */
function curves(run: AttachedRun, fields?: string[]): Figure {
  const steps = run.events.filter(({ step }) => step !== undefined);
  const names = fields ?? [...new Set(steps.flatMap((event) => numbersOf(event).map(([name]) => name)))].filter((name) => /loss/i.test(name));
  const data = names.map((name) => {
    const having = steps.filter((event) => typeof event[name] === 'number');
    return { type: 'scatter', mode: 'lines', name, x: having.map(({ step }) => step), y: having.map((event) => event[name]) };
  });
  return { data, layout: { xaxis: { title: { text: 'step' } }, margin: { t: 20 }, height: 300 } };
}
