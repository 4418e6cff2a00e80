import { closeSync, existsSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { readEvents } from '../run-folder.js';

/** What the board's list says about a run. */
export interface RunSummary {
  /** Path below the folder that the board shows. */
  name: string;
  isFinished: boolean;
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

const summaries = new Map<string, { size: number; isFinished: boolean; summary: RunSummary }>();

/** Read anew only when its log has grown. */
export function summarize(root: string, name: string): RunSummary {
  const folder = join(root, name);
  const { size } = statSync(join(folder, 'events.jsonl'));
  const isFinished = existsSync(join(folder, 'result.json'));
  const known = summaries.get(folder);
  if (known && known.size === size && known.isFinished === isFinished) return known.summary;

  const events = readEvents(folder);
  const steps = events.filter(({ type }) => type === 'step');
  const last = steps.at(-1);
  const total = (events.findLast(({ type }) => type === 'start')?.steps as number | undefined) ?? 0;
  const done = last ? last.step! + 1 : 0;
  const recent = steps.slice(-20).map(({ ms }) => ms as number);
  const msPerStep = recent.reduce((sum, ms) => sum + ms, 0) / recent.length;
  const summary: RunSummary = {
    name,
    isFinished,
    step: done,
    steps: total,
    ...(last ? { loss: last.loss as number, samplesPerSecond: last.samplesPerSecond as number } : {}),
    ...(last && !isFinished ? { secondsLeft: Math.round(((total - done) * msPerStep) / 1000) } : {}),
    lastEvent: events.at(-1)?.time ?? 0,
  };
  summaries.set(folder, { size, isFinished, summary });
  return summary;
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
