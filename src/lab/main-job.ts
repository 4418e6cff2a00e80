import { mkdirSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { basename, join, relative } from 'node:path';
import { useBackend } from '../core/backend.js';
import { contactSheet, encodePng, type RgbImage } from '../core/images.js';
import { packageRoot } from '../core/process.js';
import { pairAt } from '../data/captions.js';
import { loadImage } from '../data/images.js';
import { answer } from '../dreamllm/comprehend.js';
import { draw } from '../dreamllm/create.js';
import { promptText } from '../dreamllm/conversation.js';
import { writeDocument, type Part } from '../dreamllm/interleaved.js';
import { nano } from '../dreamllm/presets.js';
import { prompts, shortPrompt } from '../data/instructions.js';
import { questionAt } from '../data/questions.js';
import type { Drawings } from '../eval/nano/creation.js';
import type { Subject } from '../eval/nano/subject.js';
import type { Measurement } from '../eval/protocol.js';
import { fromPercent } from '../kernel/document/percent.js';
import { writeNotebook } from '../kernel/document/notebook.js';
import { runNotebook } from '../kernel/document/run.js';
import { writeTextAtomically } from '../train/files.js';
import { foundationHash } from '../train/hand-off.js';
import { progress } from '../train/progress.js';
import { provenance, type Provenance } from '../train/provenance.js';
import { stageNames, type StageName } from '../train/stages.js';
import { chapterNames, chapterSource, type ChapterName } from './chapters.js';
import { codeVersion } from './content-hash.js';
import { fullSizes, measureComprehension, measureCreation, measureFoundation, measureGuidanceScale, openNano, sheetRows, smokeSizes, type MeasureOptions } from './measure-nano.js';
import { drawSamples, type Samples } from './samples.js';
import { stageGraph, type StageGraph } from './stage-graph.js';
import { StepRunner, type Step } from './steps.js';
import { synergyArmNames, synergyArms, type SynergyArm } from './synergy.js';

/** All that the main job found, as plain data: what the report, the notebooks and the tables are made of. */
export interface MainResult {
  seed: number;
  /** Run folder of each stage of each arm, relative to the job's folder. Arms share stage I. */
  stages: Record<SynergyArm, Record<StageName, string>>;
  foundation: { autoencoder: Measurement; retrieval: Measurement; unet: Measurement[]; untrained: Measurement[] };
  arms: Record<SynergyArm, { comprehension: Measurement[]; creation: Measurement[] }>;
  guidance: { scale: number; measurements: Measurement[] }[];
  use: UseResult;
  /** Contact sheets of fixed prompts, under `pictures/`. Absent in results from before there were any. */
  samples?: Samples;
  times: { title: string; seconds: number }[];
  /**
   * What the job ran on when it was last started: engine, threads, the load (mean number of running processes over a minute) before it began, and the most
   * memory it held in MiB. Absent in older results.
   */
  made?: Provenance & { engine: string; threads: number; load: number; memoryMiB: number; day: string };
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
  say(line: string): void;
}

/** Guidance scales of the little curve; the paper draws at 7.5 and measures FID at 2. */
const guidanceScales = [1, 2, 4] as const;

/** Seconds of each step on two cores with the native engine; only their proportions are used. */
const plan: Pick<Step, 'name' | 'seconds'>[] = [
  { name: 'data', seconds: 3 },
  { name: 'foundation', seconds: 40 },
  ...stageNames.map((name) => ({ name: `joint ${name}`, seconds: 60 })),
  { name: 'measure joint', seconds: 60 },
  ...(['comprehension-only', 'creation-only'] as const).flatMap((arm) => [
    { name: `train ${arm}`, seconds: 100 },
    { name: `measure ${arm}`, seconds: 60 },
  ]),
  { name: 'guidance', seconds: 40 },
  { name: 'use', seconds: 20 },
  { name: 'samples', seconds: 15 },
  { name: 'notebooks', seconds: 70 },
];

/**
 * The whole of DreamLLM at nano size: data, stages I to III, the synergy ablation, measurements, and the finished model in use. Killed at any
 * moment it goes on where it was: steps are done once, and trainings resume from their checkpoints.
 */
export async function runMainJob({ out, seed, smoke = false, foundation = join(packageRoot(), 'data/foundation'), signal, say }: MainOptions): Promise<MainResult> {
  mkdirSync(join(out, 'pictures'), { recursive: true });
  const { engine, threads } = await useBackend();
  const made = { ...provenance(), engine, threads, load: loadavg()[0], day: new Date().toISOString().slice(0, 10) };
  const sizes = smoke ? smokeSizes : fullSizes;
  const origin = { seed, sizes, foundation: foundationHash(foundation), code: codeVersion(), evaluation: [codeVersion(['eval']), measureFoundation, measureComprehension, measureCreation] };
  const graph = stageGraph({ folder: join(out, 'stages'), foundation, signal, progress: (label, steps) => progress(label, steps), ...(smoke ? { steps: 4 } : {}) });
  const runner = new StepRunner(join(out, 'steps'), plan, say);
  const step = <Value>(name: string, title: string, identity: unknown, run: () => Promise<Value>) =>
    runner.run<Value>({ name, title, seconds: plan.find((each) => each.name === name)!.seconds, identity, run });

  await step('data', 'Draw pictures of the emoji world', origin, () => showData(out, seed));
  const foundationResult = await step('foundation', 'Measure the foundation', origin, () =>
    measureFoundation({ sizes, foundation, signal, onDrawings: (drawings) => sheet(out, 'foundation.png', sheetRows(drawings, 16), 16) }),
  );

  const stages = {} as MainResult['stages'];
  const arms = {} as MainResult['arms'];
  for (const arm of synergyArmNames) {
    if (arm === 'joint') {
      for (const name of stageNames) await step(`joint ${name}`, `Train ${name}`, { origin, name }, () => stageOf(graph, arm, name, seed));
    } else {
      await step(`train ${arm}`, `Train stages II and III, ${arm}`, { origin, arm }, () => stageOf(graph, arm, 'sft', seed));
    }
    // The folders are looked up by content, so a finished stage costs nothing here.
    stages[arm] = {} as Record<StageName, string>;
    for (const name of stageNames) stages[arm][name] = join('stages', basename(await stageOf(graph, arm, name, seed)));
    arms[arm] = await step(`measure ${arm}`, `Measure the ${arm} model`, { origin, arm, stage: stages[arm].sft }, () =>
      withModel(join(out, stages[arm].sft), async (subject) => ({
        comprehension: await measureComprehension(subject, { sizes, signal }),
        creation: await measureCreation(subject, { sizes, foundation, signal, onDrawings: (drawings: Drawings) => sheet(out, `${arm}.png`, sheetRows(drawings, 16), 16) }),
      })),
    );
  }

  const joint = join(out, stages.joint.sft);
  const guidance = await step('guidance', 'Draw with less and more guidance', { origin, joint: stages.joint.sft, guidanceScales }, () =>
    withModel(joint, (subject) => measureGuidance(subject, { sizes, foundation, signal })),
  );
  const use = await step('use', 'Use the model: answer, caption, draw, write documents', { origin, joint: stages.joint.sft }, () =>
    withModel(joint, (subject) => useModel(subject, out, seed, signal)),
  );

  const samples = await step('samples', 'Draw contact sheets of each stage and guidance scale', { origin, joint: stages.joint.sft }, () =>
    drawSamples({
      stages: Object.fromEntries(stageNames.map((name) => [name, join(out, stages.joint[name])])) as Record<StageName, string>,
      foundation, out: join(out, 'pictures'), ...(smoke ? { steps: 2, candidates: 8 } : {}), signal,
    }),
  );

  const write = (): MainResult => {
    const times = runner.times.map(({ title, seconds }) => ({ title, seconds }));
    const result: MainResult = { seed, stages, foundation: foundationResult, arms, guidance, use, samples, times, made: { ...made, memoryMiB: Math.round(process.resourceUsage().maxRSS / 1024) }, ...(smoke ? { smoke } : {}) };
    writeTextAtomically(join(out, 'result.json'), JSON.stringify(result));
    return result;
  };
  write(); // the notebooks read it
  await step('notebooks', 'Execute the notebooks', { origin, joint: stages.joint.sft, sources: chapterNames.map(chapterSource) }, () => executeChapters(out, signal));
  return write();
}

const stageOf = (graph: StageGraph, arm: SynergyArm, name: StageName, seed: number): Promise<string> =>
  graph.stage(name, { seed, ...(name === 'i-gpt' || name === 'sft' ? { lossWeights: synergyArms[arm] } : {}) });

async function withModel<Value>(folder: string, use: (subject: Subject) => Promise<Value>): Promise<Value> {
  const subject = openNano(folder);
  try {
    return await use(subject);
  } finally {
    subject.dispose();
  }
}

async function sheet(out: string, name: string, images: readonly RgbImage[], columns: number, labels?: readonly string[]): Promise<string> {
  const path = join('pictures', name);
  writeFileSync(join(out, path), await encodePng(contactSheet(images, { columns, scale: 2, ...(labels ? { labels } : {}) })));
  return path;
}

const pictureOf = (ref: string): RgbImage => ({ width: nano.imageSize, height: nano.imageSize, data: loadImage(ref, nano.imageSize) });

async function save(out: string, name: string, image: RgbImage): Promise<string> {
  return sheet(out, name, [image], 1);
}

async function showData(out: string, seed: number): Promise<{ captions: string[] }> {
  const pairs = Array.from({ length: 48 }, (_, i) => pairAt(seed, i, { split: 'train' }));
  await sheet(out, 'data.png', pairs.map(({ image }) => pictureOf(image)), 16);
  return { captions: pairs.map(({ caption }) => caption) };
}

async function measureGuidance(subject: Subject, options: MeasureOptions): Promise<MainResult['guidance']> {
  const results: MainResult['guidance'] = [];
  for (const scale of guidanceScales) results.push({ scale, measurements: await measureGuidanceScale(subject, scale, options) });
  return results;
}

/** Runs every chapter on this job, each in a kernel of its own, two at a time; the executed notebooks lie in `notebooks/`. */
async function executeChapters(out: string, signal: AbortSignal): Promise<string[]> {
  mkdirSync(join(out, 'notebooks'), { recursive: true });
  const waiting = [...chapterNames];
  // A failure stops the others too: what they would show is not going to be used.
  const failed = new AbortController();
  const worker = async () => {
    for (let name = waiting.shift(); name; name = waiting.shift()) await executeChapter(name, out, AbortSignal.any([signal, failed.signal]));
  };
  try {
    await Promise.all([worker(), worker()]);
  } catch (error) {
    failed.abort();
    throw error;
  }
  return chapterNames.map((name) => join('notebooks', `${name}.ipynb`));
}

async function executeChapter(name: ChapterName, out: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const path = join(out, 'notebooks', `${name}.ipynb`);
  writeNotebook(path, fromPercent(chapterSource(name)));
  // A path from the package's folder keeps the notebook the same wherever it was run.
  const takesFolder = chapterSource(name).includes('tags=["parameters"]');
  const failures = await runNotebook(path, { signal, timeout: 300, parameters: takesFolder ? { folder: relative(packageRoot(), out) } : {} });
  if (failures.length) throw new Error(`notebooks/${name}.ts failed in cell ${failures[0].cell}: ${failures[0].ename}: ${failures[0].evalue}`);
}

/** Documents that the model is asked to begin; where pictures go is its own choice. */
const documentPrompts = ['a page about fruits on blue paper.', 'a story on yellow paper.', 'a shopping list on white paper.'];
const drawingPrompts = ['a red apple on a white background', 'a dog on a green background', 'a rocket on a black background', 'a pizza on a blue background'];

async function useModel({ model, tokenizer }: Subject, out: string, seed: number, signal: AbortSignal): Promise<UseResult> {
  const result: UseResult = { answers: [], captions: [], drawings: [], documents: [] };
  for (let i = 0; i < 12; i++) {
    const { image, question, answer: expected } = questionAt(seed, i, { split: 'test' });
    const picture = await save(out, `question-${i}.png`, pictureOf(image));
    result.answers.push({ picture, question, expected, answer: await answer(model, tokenizer, [pictureOf(image)], shortPrompt(question), { maxNewTokens: 12, signal }) });
  }
  for (let i = 0; i < 8; i++) {
    const { image, caption: expected } = pairAt(seed, i, { split: 'test' });
    const picture = await save(out, `caption-${i}.png`, pictureOf(image));
    result.captions.push({ picture, expected, caption: await answer(model, tokenizer, [pictureOf(image)], prompts.describe[0], { maxNewTokens: 32, signal }) });
  }
  for (const [i, prompt] of drawingPrompts.entries()) {
    const pictures: string[] = [];
    for (const guidanceScale of [1, 2, 4, 7.5]) {
      const [image] = await draw(model, tokenizer, [prompt], [seed], { steps: 50, guidanceScale, signal });
      pictures.push(await save(out, `drawing-${i}-${guidanceScale}.png`, image));
    }
    result.drawings.push({ prompt, pictures });
  }
  for (const [i, prompt] of documentPrompts.entries()) {
    const parts = await writeDocument(model, tokenizer, prompt, { seed: seed + i, steps: 30, guidanceScale: 2, temperature: 0.5, signal });
    result.documents.push({ prompt, parts: await saveParts(out, `document-${i}`, parts) });
  }
  const request = promptText('write a short page about animals with pictures.', nano.template);
  const parts = await writeDocument(model, tokenizer, request, { seed, steps: 30, guidanceScale: 2, temperature: 0.5, signal });
  result.documents.push({ prompt: request, parts: await saveParts(out, 'document-request', parts) });
  return result;
}

const saveParts = (out: string, name: string, parts: readonly Part[]) =>
  Promise.all(
    parts.map(async (part, i) => (part.kind === 'text' ? { text: part.text } : { picture: await save(out, `${name}-${i}.png`, part.image), forced: part.forced })),
  );
