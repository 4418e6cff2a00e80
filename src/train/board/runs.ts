import { closeSync, existsSync, fstatSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { isHeld } from '../lock.js';
import { compareWithReference, readReferenceCurves, referenceOf, type Comparison, type FullCurve } from '../reference-curves.js';
import { readEvents } from '../run-folder.js';

/** What the board's list says about a run. */
export interface RunSummary {
  /** Path below the folder that the board shows. */
  name: string;
  /** `stopped`: no process writes it, and it is not at its end; `--resume` goes on. */
  state: 'running' | 'finished' | 'stopped';
  /** Steps taken and to take; 0 while unknown. */
  step: number;
  steps: number;
  loss?: number;
  samplesPerSecond?: number;
  /** At the speed of the last steps. */
  secondsLeft?: number;
  /** Milliseconds since 1970 of the last event. */
  lastEvent: number;
}

const deepest = 4;

/** Folders below `root` that hold a run, by name. */
export function findRuns(root: string): string[] {
  const found: string[] = [];
  const visit = (folder: string, depth: number) => {
    if (existsSync(join(folder, 'events.jsonl'))) found.push(relative(root, folder) || '.');
    if (depth === deepest) return;
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory() && entry.name !== 'checkpoints' && !entry.name.startsWith('.')) visit(join(folder, entry.name), depth + 1);
    }
  };
  if (existsSync(root)) visit(root, 0);
  return found.sort();
}

const summaries = new Map<string, { size: number; state: RunSummary['state']; summary: RunSummary }>();

/** Read anew only when its log has grown. */
export function summarize(root: string, name: string): RunSummary {
  const folder = join(root, name);
  const { size } = statSync(join(folder, 'events.jsonl'));
  const state = existsSync(join(folder, 'result.json')) ? 'finished' : isHeld(join(folder, 'lock')) ? 'running' : 'stopped';
  const known = summaries.get(folder);
  if (known && known.size === size && known.state === state) return known.summary;

  const events = readEvents(folder);
  const steps = events.filter(({ type }) => type === 'step');
  const last = steps.at(-1);
  const total = (events.findLast(({ type }) => type === 'start')?.steps as number | undefined) ?? 0;
  const done = last ? last.step! + 1 : 0;
  const recent = steps.slice(-20).map(({ ms }) => ms as number);
  const msPerStep = recent.reduce((sum, ms) => sum + ms, 0) / recent.length;
  const summary: RunSummary = {
    name,
    state,
    step: done,
    steps: total,
    ...(last ? { loss: last.loss as number, samplesPerSecond: last.samplesPerSecond as number } : {}),
    ...(last && state === 'running' ? { secondsLeft: Math.round(((total - done) * msPerStep) / 1000) } : {}),
    lastEvent: events.at(-1)?.time ?? 0,
  };
  summaries.set(folder, { size, state, summary });
  return summary;
}

/** The settings of a run, and the reference curve that it is held against, with how it did so far. */
export function aboutRun(folder: string, references: string): { settings: unknown; reference?: FullCurve; comparison?: Comparison } {
  const file = join(folder, 'config.json');
  const settings = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { settings?: unknown }).settings : undefined;
  const reference = referenceOf(folder, readReferenceCurves(references));
  return { settings, ...(reference ? { reference, comparison: compareWithReference(readEvents(folder), reference) } : {}) };
}

/** Whole lines of a run's log from byte `from` on, and the byte that the next call should start at. */
export function linesFrom(folder: string, from: number): { text: string; next: number } {
  const file = openSync(join(folder, 'events.jsonl'), 'r');
  try {
    const { size } = fstatSync(file);
    const start = from > size ? 0 : from; // the log was cut back to its last whole line
    const bytes = Buffer.alloc(Math.min(size - start, 2 ** 24));
    const count = readSync(file, bytes, 0, bytes.length, start);
    const whole = bytes.subarray(0, count).lastIndexOf(10) + 1;
    return { text: bytes.toString('utf8', 0, whole), next: start + whole };
  } finally {
    closeSync(file);
  }
}

/** Names of the sheets of pictures that a run drew, oldest first. */
export function sampleNames(folder: string): string[] {
  const samples = join(folder, 'samples');
  return existsSync(samples) ? readdirSync(samples).filter((name) => /^[\w-]+\.png$/.test(name)).sort() : [];
}
