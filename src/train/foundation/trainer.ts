import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fetchValues, hashFile, saveParams } from '../../core/checkpoint.js';
import { flatten } from '../../core/params.js';
import { writeTextAtomically } from '../files.js';
import { train, trainStep, Training, type LoopSettings } from '../loop.js';
import { silent, type Progress } from '../progress.js';
import { provenance, type Provenance } from '../provenance.js';
import { latestCheckpoint, readEvents, RunFolder, type Event } from '../run-folder.js';
import { loadExact } from '../tensors.js';
import { buildPart } from './build.js';
import { fileNames, type Part, type PartName, type PartSettings } from './part.js';
import { foundationSettings } from './settings.js';

export interface FoundationOptions {
  /** Where the weights (`fileNames`) and foundation.json are written, and earlier parts are read from. */
  out: string;
  /** Where the run folders `foundation-NAME` lie. */
  runs: string;
  resume?: boolean;
  /** Longest time for this part; it takes as many steps as fit. Without it, the steps of the settings. */
  minutes?: number;
  signal?: AbortSignal;
  progress?: (label: string, steps: number) => Progress;
}

/** What foundation.json says about one part. */
export interface PartRecord {
  file: string;
  sha256: string;
  parameters: number;
  settings: PartSettings;
  /** Steps taken: fewer than the settings' when the run was stopped. */
  steps: number;
  provenance: Provenance;
  /** Hashes of the parts that this one was trained on. */
  parents: Record<string, string>;
  seconds: number;
  /** The last evaluation on held-out data, and what finishing measured. */
  results: Record<string, unknown>;
  /** About a hundred points of each number that was logged, [step, value]. */
  curves: Record<string, [number, number][]>;
}

export type FoundationRecord = { command: string; parts: Partial<Record<PartName, PartRecord>> };

/** Trains one part of the foundation and writes its weights as float16. With `resume` an interrupted run goes on, and a finished one is left alone. */
export async function trainPart(name: PartName, options: FoundationOptions): Promise<PartRecord> {
  const { out, runs, signal } = options;
  const path = join(runs, `foundation-${name}`);
  const resume = options.resume === true && existsSync(join(path, 'config.json'));
  const finished = readFoundation(out)?.parts[name];
  if (resume && finished && existsSync(join(path, 'result.json'))) return finished;
  const settings = await chooseSettings(name, path, { ...options, resume });
  const folder = resume ? RunFolder.resume(path, settings) : RunFolder.create(path, { settings, provenance: provenance() });
  const { part, parents } = buildPart(name, settings, out);
  try {
    const progress = options.progress?.(name, settings.steps) ?? silent;
    const samples = join(path, 'samples');
    const evaluate = {
      every: settings.evaluateEvery,
      run: async (step: number) => {
        await part.draw?.(join(samples, String(step).padStart(6, '0')));
        return part.evaluate();
      },
    };
    const training = await train(part.task, loopSettings(settings), { folder, resume, signal, progress, evaluate });
    const record = await training.withResult(() => writePart(name, part, parents, settings, settings.steps, path, out));
    training.dispose();
    folder.finish({ results: record.results });
    return record;
  } finally {
    part.dispose();
    folder.close();
  }
}

/** Writes what the newest checkpoint of a run holds, as if it had ended there: for looking at a long run early, or for stopping it. */
export async function exportPart(name: PartName, { out, runs, progress }: FoundationOptions): Promise<PartRecord> {
  const path = join(runs, `foundation-${name}`);
  const { settings } = JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')) as { settings: PartSettings };
  const say = progress?.(name, settings.steps).say ?? (() => {});
  const checkpoint = latestCheckpoint(path, say);
  if (!checkpoint) throw new Error(`${path} has no whole checkpoint yet. One is written every ${settings.checkpointEvery} steps.`);
  const { step } = checkpoint.state as { step: number };
  const { part, parents } = buildPart(name, settings, out);
  try {
    const averages = join(checkpoint.folder, 'ema.safetensors');
    loadExact(existsSync(averages) ? averages : join(checkpoint.folder, 'parameters.safetensors'), part.task.trainable);
    return await writePart(name, part, parents, settings, step, path, out);
  } finally {
    part.dispose();
  }
}

/** Finishes, measures and writes a part whose parameters are those to be used. */
async function writePart(
  name: PartName, part: Part, parents: Record<string, string>, settings: PartSettings, steps: number, path: string, out: string,
): Promise<PartRecord> {
  const results = { ...(await part.finish?.()), ...(await part.evaluate()) };
  const file = join(out, fileNames[name]);
  await fetchValues(part.params);
  saveParams(file, part.params, { dtype: 'f16', metadata: { part: name, parents: JSON.stringify(parents) } });
  const events = readEvents(path).filter(({ step = 0 }) => step < steps);
  const record: PartRecord = {
    file: fileNames[name],
    sha256: hashFile(file),
    parameters: [...flatten(part.params).values()].reduce((sum, { size }) => sum + size, 0),
    settings,
    steps,
    provenance: provenance(),
    parents,
    seconds: Math.round(events.filter(({ type }) => type === 'step').reduce((sum, { ms }) => sum + (ms as number), 0) / 1000),
    results,
    curves: curvesOf(events),
  };
  writeRecord(out, name, record);
  return record;
}

/** The stored settings of a run that is resumed; else the defaults, shortened to fit `minutes` by the time that a few steps take. */
async function chooseSettings(name: PartName, path: string, { out, resume, minutes }: FoundationOptions): Promise<PartSettings> {
  const config = join(path, 'config.json');
  if (resume) return (JSON.parse(readFileSync(config, 'utf8')) as { settings: PartSettings }).settings;
  const settings = foundationSettings[name];
  if (minutes === undefined) return settings;
  const { part } = buildPart(name, settings, out);
  const probe = new Training(part.task, loopSettings(settings));
  let start = 0;
  const [warm, timed] = [2, 4];
  for (let step = 0; step < warm + timed; step++) {
    if (step === warm) start = performance.now();
    await trainStep(probe);
    probe.step++;
  }
  const seconds = (performance.now() - start) / 1000 / timed;
  probe.dispose();
  part.dispose();
  return { ...settings, steps: Math.max(1, Math.min(settings.steps, Math.floor((60 * minutes) / seconds))) };
}

const loopSettings = (settings: PartSettings): LoopSettings => ({ ...settings, accumulation: 1, keepLast: 2 });

function writeRecord(out: string, name: PartName, record: PartRecord): void {
  const file = join(out, 'foundation.json');
  const before = readFoundation(out);
  const content: FoundationRecord = { command: 'dreamllm foundation train', parts: { ...before?.parts, [name]: record } };
  writeTextAtomically(file, `${JSON.stringify(content, null, 1)}\n`);
}

/** What foundation.json in `out` says, if it is there. */
export function readFoundation(out: string): FoundationRecord | undefined {
  const file = join(out, 'foundation.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as FoundationRecord) : undefined;
}

/** Numbers of the log by name, thinned by taking means over equal stretches of steps. */
export function curvesOf(events: readonly Event[], points = 100): Record<string, [number, number][]> {
  const series = new Map<string, [number, number][]>();
  for (const { type, step, time: _, ...fields } of events) {
    if (step === undefined || (type !== 'step' && type !== 'evaluation')) continue;
    for (const [name, value] of Object.entries(fields)) {
      if (typeof value !== 'number' || ['ms', 'samplesPerSecond', 'tensors'].includes(name)) continue;
      if (!series.has(name)) series.set(name, []);
      series.get(name)!.push([step, value]);
    }
  }
  return Object.fromEntries([...series].map(([name, values]) => [name, thin(values, points)]));
}

function thin(values: [number, number][], points: number): [number, number][] {
  const size = Math.ceil(values.length / points);
  return Array.from({ length: Math.ceil(values.length / size) }, (_, i) => {
    const stretch = values.slice(i * size, (i + 1) * size);
    const mean = stretch.reduce((sum, [, value]) => sum + value, 0) / stretch.length;
    return [stretch.at(-1)![0], Number(mean.toPrecision(5))];
  });
}
