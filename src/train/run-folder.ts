import { closeSync, existsSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { explainWrite, flushFolder, sha256, writeAll, writeTextAtomically } from './files.js';
import { lockFolder } from './lock.js';
import { TensorboardWriter } from './tensorboard.js';

/**
 * The folder of one run, from which everything a plot or table shows is computed:
 *
 *     config.json                resolved settings and provenance, written once
 *     events.jsonl               one JSON line per step or event, appended
 *     checkpoints/<name>/        tensors, state.json and SHA256SUMS (readable by `sha256sum -c`)
 *     events.out.tfevents.…      the numbers of events.jsonl, for TensorBoard
 *     result.json                only when the run finished
 *     lock                       while a process writes
 */
export interface Event {
  type: string;
  /** Milliseconds since 1970. */
  time: number;
  step?: number;
  [field: string]: unknown;
}

/** A checkpoint whose every byte was verified. `folder` holds its tensor files. */
export interface Checkpoint<State = unknown> {
  name: string;
  folder: string;
  state: State;
}

const SUMS = 'SHA256SUMS';

export class RunFolder {
  private constructor(
    readonly path: string,
    private readonly events: number,
    private readonly tensorboard: TensorboardWriter,
    private readonly release: () => void,
  ) {}

  /** Starts a run in a folder that holds none, or an error that says how to go on. */
  static create(path: string, config: object): RunFolder {
    const run = RunFolder.open(path, () => {
      if (existsSync(join(path, 'config.json'))) {
        throw new Error(`${path} already holds a run. Continue it with --resume, or choose another folder.`);
      }
    });
    writeTextAtomically(join(path, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
    return run;
  }

  /** Opens the run in `path` to go on writing. Its settings must equal `config.settings`, else an error that lists the differences. */
  static resume(path: string, settings: object): RunFolder {
    return RunFolder.open(path, () => {
      const file = join(path, 'config.json');
      if (!existsSync(file)) throw new Error(`${path} holds no run to resume: ${file} is missing. Start one without --resume.`);
      const differences = differingKeys((JSON.parse(readFileSync(file, 'utf8')) as { settings: object }).settings, settings);
      if (differences.length > 0) {
        throw new Error(
          `${path} was started with other settings:\n${differences.map(({ key, before, now }) => `  ${key}: ${before} there, ${now} now`).join('\n')}\n` +
            'Resume with the same settings, or start a new run in another folder.',
        );
      }
    });
  }

  private static open(path: string, check: () => void): RunFolder {
    mkdirSync(join(path, 'checkpoints'), { recursive: true });
    const release = lockFolder(join(path, 'lock'));
    try {
      check();
      for (const name of readdirSync(join(path, 'checkpoints'))) {
        if (name.startsWith('.')) rmSync(join(path, 'checkpoints', name), { recursive: true });
      }
      for (const name of readdirSync(path)) if (/\.\d+\.tmp$/.test(name)) rmSync(join(path, name)); // what an earlier writer did not come to rename
      const file = join(path, 'events.jsonl');
      const events = openSync(file, 'a+');
      // A line cut off by a crash is dropped, so that the next one starts on its own line.
      const bytes = readFileSync(file);
      const complete = bytes.lastIndexOf(10) + 1;
      if (complete < bytes.length) ftruncateSync(events, complete);
      return new RunFolder(path, events, new TensorboardWriter(path), release);
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Appends one event and hands it to the operating system before it returns. */
  append(event: Omit<Event, 'time'>): void {
    const file = join(this.path, 'events.jsonl');
    try {
      writeAll(this.events, Buffer.from(`${JSON.stringify({ ...event, time: Date.now() })}\n`));
      const { type, step = 0, ...numbers } = event as Event;
      if (type === 'resume') this.tensorboard.restart(step);
      if (type === 'step' || type === 'evaluation') this.tensorboard.scalars(step, numbers);
    } catch (error) {
      throw explainWrite(error, file);
    }
  }

  /** Makes `checkpoints/<name>/` so that it is there whole or not at all. `write` puts the tensor files into the folder it is given. */
  saveCheckpoint(name: string, state: object, write: (folder: string) => void): void {
    const folder = join(this.path, 'checkpoints', name);
    const temporary = join(this.path, 'checkpoints', `.${name}.${process.pid}`);
    try {
      fsyncSync(this.events); // the log never lags behind the state it describes
      rmSync(temporary, { recursive: true, force: true });
      mkdirSync(temporary);
      write(temporary);
      writeTextAtomically(join(temporary, 'state.json'), `${JSON.stringify(state, null, 2)}\n`);
      const sums = readdirSync(temporary).sort().map((file) => `${sha256(readFileSync(join(temporary, file)))}  ${file}\n`);
      writeTextAtomically(join(temporary, SUMS), sums.join(''));
      rmSync(folder, { recursive: true, force: true });
      renameSync(temporary, folder);
      flushFolder(join(this.path, 'checkpoints'));
    } catch (error) {
      rmSync(temporary, { recursive: true, force: true });
      throw explainWrite(error, folder);
    }
  }

  /** Deletes numbered checkpoints but the newest `last` and the one called `best`. */
  prune(last: number, best?: number): void {
    const steps = checkpointSteps(this.path);
    for (const step of steps.slice(0, Math.max(0, steps.length - last))) {
      if (step !== best) rmSync(join(this.path, 'checkpoints', String(step)), { recursive: true });
    }
  }

  /** Deletes numbered checkpoints behind `step`: those that could not be read when the run went back to it. */
  dropAfter(step: number): void {
    for (const each of checkpointSteps(this.path)) if (each > step) rmSync(join(this.path, 'checkpoints', String(each)), { recursive: true });
  }

  /** Writes result.json, which says that the run is complete. */
  finish(result: object): void {
    writeTextAtomically(join(this.path, 'result.json'), `${JSON.stringify(result, null, 2)}\n`);
  }

  close(): void {
    closeSync(this.events);
    this.tensorboard.close();
    this.release();
  }
}

/** Steps of the numbered checkpoints of a run, ascending. */
export function checkpointSteps(path: string): number[] {
  return readdirSync(join(path, 'checkpoints'))
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

/** The newest numbered checkpoint of a run that is whole. `onDamage` is told about each damaged one that was passed over. */
export function latestCheckpoint(path: string, onDamage: (message: string) => void): Checkpoint | undefined {
  for (const step of checkpointSteps(path).reverse()) {
    try {
      return readCheckpoint(join(path, 'checkpoints', String(step)));
    } catch (error) {
      onDamage(`${(error as Error).message} Using the one before it.`);
    }
  }
  return undefined;
}

/** Reads a checkpoint's folder and verifies every byte of it. A missing, torn or changed file is an error that names it. */
export function readCheckpoint<State = unknown>(folder: string): Checkpoint<State> {
  const damaged = (why: string) => new Error(`The checkpoint ${folder} is damaged: ${why}.`);
  if (!existsSync(folder)) throw new Error(`There is no checkpoint ${folder}.`);
  if (!existsSync(join(folder, SUMS))) throw damaged(`${SUMS} is missing`);
  const lines = readFileSync(join(folder, SUMS), 'utf8').split('\n');
  if (lines.pop() !== '') throw damaged(`${SUMS} is cut off`);

  const files = lines.map((line) => {
    const [, expected, file] = /^([0-9a-f]{64}) {2}([\w.-]+)$/.exec(line) ?? [];
    if (!file) throw damaged(`${SUMS} has the line "${line}" where "<sha256>  <file>" was expected`);
    if (!existsSync(join(folder, file))) throw damaged(`${file} is missing`);
    const bytes = readFileSync(join(folder, file));
    const found = sha256(bytes);
    if (found !== expected) throw damaged(`${file} has ${bytes.length} bytes with sha256 ${found.slice(0, 12)}…, expected ${expected.slice(0, 12)}…`);
    return file;
  });
  if (!files.includes('state.json')) throw damaged('state.json is not listed');
  return { name: basename(folder), folder, state: JSON.parse(readFileSync(join(folder, 'state.json'), 'utf8')) as State };
}

/** What identifies a checkpoint: the hash of its list of hashes. */
export const checkpointHash = (folder: string): string => sha256(readFileSync(join(folder, SUMS)));

/**
 * The events of a run in order. A cut-off last line is left out; steps that a resumed run took again appear once, as taken last.
 */
export function readEvents(path: string): Event[] {
  const file = join(path, 'events.jsonl');
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').split('\n');
  lines.pop(); // what follows the last line feed: nothing, or a line not yet whole
  const events: Event[] = [];
  lines.forEach((line, i) => {
    let event: Event;
    try {
      event = JSON.parse(line) as Event;
    } catch (error) {
      throw new Error(`${file}, line ${i + 1}: expected a JSON object, found "${line.slice(0, 60)}".`, { cause: error });
    }
    if (event.type === 'resume') {
      const { step = 0 } = event;
      for (let e = events.length - 1; e >= 0; e--) if (events[e].step !== undefined && events[e].step! >= step) events.splice(e, 1);
    }
    events.push(event);
  });
  return events;
}

export interface Difference {
  key: string;
  before: string;
  now: string;
}

/** Leaves in which two JSON values differ, by dotted key. */
export function differingKeys(before: unknown, now: unknown, prefix = ''): Difference[] {
  const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
  if (isObject(before) && isObject(now)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(now)]);
    return [...keys].flatMap((key) => differingKeys(before[key], now[key], prefix ? `${prefix}.${key}` : key));
  }
  const [a, b] = [JSON.stringify(before) ?? 'absent', JSON.stringify(now) ?? 'absent'];
  return a === b ? [] : [{ key: prefix, before: a, now: b }];
}
