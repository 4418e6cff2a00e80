import { mkdirSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join, relative } from 'node:path';
import { useBackend } from '../core/backend.js';
import { packageRoot } from '../core/process.js';
import type { Measurement } from '../eval/protocol.js';
import { fromPercent } from '../kernel/document/percent.js';
import { writeNotebook } from '../kernel/document/notebook.js';
import { runNotebook } from '../kernel/document/run.js';
import { writeTextAtomically } from '../train/files.js';
import { foundationHash } from '../train/hand-off.js';
import { provenance, type Provenance } from '../train/provenance.js';
import type { StageName } from '../train/stages.js';
import { chapterNames, chapterSource, type ChapterName } from './chapters.js';
import { codeVersion } from './content-hash.js';
import { Lanes } from './lanes.js';
import { guidanceScales, mainTasks, sizesOf, type MainContext } from './main-tasks.js';
import type { GuidancePoint } from './measure-nano.js';
import type { Samples } from './samples.js';
import { StepRunner, type JobProgress, type PlannedStep } from './steps.js';
import { synergyArmNames, type SynergyArm } from './synergy.js';

/** All that the main job found, as plain data: what the report, the notebooks and the tables are made of. */
export interface MainResult {
  seed: number;
  /** Run folder of each stage of each arm, relative to the job's folder. Arms share stage I. */
  stages: Record<SynergyArm, Record<StageName, string>>;
  foundation: { autoencoder: Measurement; retrieval: Measurement; unet: Measurement[]; untrained: Measurement[] };
  arms: Record<SynergyArm, { comprehension: Measurement[]; creation: Measurement[] }>;
  /** The joint model's curve. */
  guidance: GuidancePoint[];
  use: UseResult;
  /** Contact sheets of fixed prompts, under `pictures/`. */
  samples: Samples;
  /** Seconds of each step. Some run at the same time. */
  times: { title: string; seconds: number }[];
  /**
   * What the job ran on when it was last started: engine, threads, parts at once, the load (mean number of running processes over a minute) before it began, and the
   * memory that all its processes may have held at once, in MiB. `seconds` is the whole time of that start, before which `doneBefore` steps were done already.
   */
  made: Provenance & { engine: string; threads: number; lanes: number; load: number; memoryMiB: number; day: string; seconds: number; doneBefore: number };
  /** A run of a few steps: its numbers mean nothing. */
  smoke?: boolean;
}

export interface UseResult {
  answers: { picture: string; question: string; answer: string; expected: string }[];
  captions: { picture: string; caption: string; expected: string }[];
  drawings: { prompt: string; pictures: string[] }[];
  documents: { prompt: string; parts: ({ text: string } | { picture: string; forced: boolean })[] }[];
}

export interface MainOptions {
  /** Folder of the job. What lies there is done already. */
  out: string;
  seed: number;
  /** Folder of the foundation. Default: data/foundation. */
  foundation?: string;
  /** Runs every part with a few steps and samples, to see that it runs. Its numbers mean nothing. */
  smoke?: boolean;
  signal: AbortSignal;
  /** Told in words what begins and what ended. */
  say(line: string): void;
  /** Told how far the job is. */
  onProgress?(state: JobProgress): void;
}

/** Steps, the most pressing first, each with the seconds of one core that it took; only their proportions are used. */
const plan: PlannedStep[] = [
  { name: 'alignment-creation', title: 'Train stage I, creation', seconds: 270 },
  { name: 'alignment-comprehension', title: 'Train stage I, comprehension', seconds: 152 },
  { name: 'data', title: 'Draw pictures of the emoji world', seconds: 2 },
  { name: 'foundation', title: 'Measure the foundation', seconds: 135 },
  { name: 'joint i-gpt', title: 'Train stage II, joint', seconds: 143 },
  { name: 'joint sft', title: 'Train stage III, joint', seconds: 238 },
  { name: 'creation-only i-gpt', title: 'Train stage II, creation-only', seconds: 142 },
  { name: 'creation-only sft', title: 'Train stage III, creation-only', seconds: 255 },
  { name: 'comprehension-only i-gpt', title: 'Train stage II, comprehension-only', seconds: 128 },
  { name: 'comprehension-only sft', title: 'Train stage III, comprehension-only', seconds: 229 },
  ...synergyArmNames.flatMap((arm) => [
    { name: `creation of ${arm}`, title: `Measure how the ${arm} model draws${arm === 'joint' ? ', also with less and more guidance' : ''}`, seconds: arm === 'joint' ? 135 : 83 },
    { name: `comprehension of ${arm}`, title: `Measure how the ${arm} model reads`, seconds: 35 },
  ]),
  { name: 'use', title: 'Use the model: answer, caption, draw, write documents', seconds: 21 },
  { name: 'samples', title: 'Draw contact sheets of each stage and guidance scale', seconds: 24 },
  { name: 'notebooks', title: 'Execute the notebooks', seconds: 102 },
];

/**
 * The whole of DreamLLM at nano size: data, stages I to III, the synergy ablation, measurements, and the finished model in use. Parts that do not
 * need each other run side by side. Killed at any moment it goes on where it was: steps are done once, and trainings resume from their checkpoints.
 */
export async function runMainJob(options: MainOptions): Promise<MainResult> {
  const { out, seed, smoke = false, foundation = join(packageRoot(), 'data/foundation'), signal, say, onProgress } = options;
  mkdirSync(join(out, 'pictures'), { recursive: true });
  const begun = performance.now();
  const { engine, threads } = await useBackend();
  const made = { ...provenance(), engine, threads, load: loadavg()[0], day: new Date().toISOString().slice(0, 10) };
  const context: MainContext = { out, seed, foundation, code: codeVersion(), smoke };
  // One failure ends the others, so that nothing goes on behind an error.
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  const lanes = new Lanes('./main-lane', context, stop, threads);
  say(`${lanes.count} parts at once, ${lanes.threads} ${lanes.threads === 1 ? 'thread' : 'threads'} each.`);

  const origin = { seed, sizes: sizesOf(context), foundation: foundationHash(foundation), code: context.code, evaluation: codeVersion(['eval', 'lab']) };
  const runner = new StepRunner(join(out, 'steps'), plan, say, onProgress);
  const step = <Task extends keyof typeof mainTasks>(name: string, task: Task, args: Parameters<(typeof mainTasks)[Task]>[1]) =>
    runner.run(name, { origin, args }, (watch) =>
      lanes.run<Awaited<ReturnType<(typeof mainTasks)[Task]>>>(task, args, { priority: plan.findIndex((each) => each.name === name), ...watch }),
    );
  const train = (arm: SynergyArm, name: StageName) => step(name.startsWith('alignment') ? name : `${arm} ${name}`, 'train', { arm, name });

  const work = async (): Promise<MainResult> => {
    const alignment = Promise.all([train('joint', 'alignment-creation'), train('joint', 'alignment-comprehension')]);
    const trainArm = async (arm: SynergyArm): Promise<Record<StageName, string>> => {
      const [creation, comprehension] = await alignment;
      const interleaved = await train(arm, 'i-gpt');
      return { 'alignment-comprehension': comprehension, 'alignment-creation': creation, 'i-gpt': interleaved, sft: await train(arm, 'sft') };
    };
    const trained = Object.fromEntries(synergyArmNames.map((arm) => [arm, trainArm(arm)])) as Record<SynergyArm, Promise<Record<StageName, string>>>;
    const measured = async (arm: SynergyArm) => {
      const { sft: stage } = await trained[arm];
      const scales = arm === 'joint' ? guidanceScales : [];
      const [comprehension, drawn] = await Promise.all([step(`comprehension of ${arm}`, 'comprehension', { stage }), step(`creation of ${arm}`, 'creation', { stage, arm, scales })]);
      return { arm: { comprehension, creation: drawn.creation }, guidance: drawn.guidance };
    };
    const shown = async () => {
      const stages = await trained.joint;
      return Promise.all([step('use', 'use', { stage: stages.sft }), step('samples', 'samples', { stages })]);
    };
    const [, foundationResult, [use, samples], ...measurements] = await Promise.all([
      step('data', 'data', undefined), step('foundation', 'foundation', undefined), shown(), ...synergyArmNames.map(measured),
    ]);

    const byArm = <Value>(values: readonly Value[]) => Object.fromEntries(synergyArmNames.map((arm, i) => [arm, values[i]])) as Record<SynergyArm, Value>;
    const stages = byArm(await Promise.all(synergyArmNames.map((arm) => trained[arm])));
    const { joint } = byArm(measurements);
    const write = (): MainResult => {
      const result: MainResult = {
        seed, stages, foundation: foundationResult, arms: byArm(measurements.map(({ arm }) => arm)), guidance: joint.guidance, use, samples, times: runner.times,
        made: { ...made, lanes: lanes.count, memoryMiB: lanes.memoryMiB, seconds: (performance.now() - begun) / 1000, doneBefore: runner.doneBefore }, ...(smoke ? { smoke } : {}),
      };
      writeTextAtomically(join(out, 'result.json'), JSON.stringify(result));
      return result;
    };
    write(); // the notebooks read it
    await runner.run('notebooks', { origin, guidanceScales, joint: stages.joint.sft, sources: chapterNames.map(chapterSource) }, () => executeChapters(out, lanes, stop));
    return write();
  };
  try {
    return await work();
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}

/** Runs every chapter on this job, each in a kernel of its own, as many at once as there are lanes; the executed notebooks lie in `notebooks/`. */
async function executeChapters(out: string, lanes: Lanes, signal: AbortSignal): Promise<string[]> {
  mkdirSync(join(out, 'notebooks'), { recursive: true });
  const waiting = [...chapterNames];
  const worker = async () => {
    for (let name = waiting.shift(); name; name = waiting.shift()) await executeChapter(name, out, lanes.environment, signal);
  };
  await Promise.all(Array.from({ length: lanes.count }, worker));
  return chapterNames.map((name) => join('notebooks', `${name}.ipynb`));
}

async function executeChapter(name: ChapterName, out: string, env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const path = join(out, 'notebooks', `${name}.ipynb`);
  writeNotebook(path, fromPercent(chapterSource(name)));
  // A path from the package's folder keeps the notebook the same wherever it was run.
  const takesFolder = chapterSource(name).includes('tags=["parameters"]');
  const failures = await runNotebook(path, { signal, env, timeout: 300, parameters: takesFolder ? { folder: relative(packageRoot(), out) } : {} });
  if (failures.length) throw new Error(`notebooks/${name}.ts failed in cell ${failures[0].cell}: ${failures[0].ename}: ${failures[0].evalue}`);
}

