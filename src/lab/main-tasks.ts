import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { useBackend } from '../core/backend.js';
import { contactSheet, encodePng, type RgbImage } from '../core/images.js';
import { pairAt } from '../data/captions.js';
import { loadImage } from '../data/images.js';
import { prompts, shortPrompt } from '../data/instructions.js';
import { questionAt } from '../data/questions.js';
import { answer } from '../dreamllm/comprehend.js';
import { draw } from '../dreamllm/create.js';
import { promptText } from '../dreamllm/conversation.js';
import { writeDocument, type Part } from '../dreamllm/interleaved.js';
import { nano } from '../dreamllm/presets.js';
import type { Drawings } from '../eval/nano/creation.js';
import type { Subject } from '../eval/nano/subject.js';
import type { Measurement } from '../eval/protocol.js';
import type { Progress } from '../train/progress.js';
import { stageNames, type StageName } from '../train/stages.js';
import type { LaneTasks, LaneTools } from './lanes.js';
import type { MainResult, UseResult } from './main-job.js';
import { fullSizes, measureComprehension, measureCreationAtScales, measureFoundation, openNano, sheetRows, smokeSizes } from './measure-nano.js';
import { drawSamples } from './samples.js';
import { stageGraph } from './stage-graph.js';
import { synergyArms, type SynergyArm } from './synergy.js';

/** What every part of the main job knows. */
export interface MainContext {
  /** Folder of the job. */
  out: string;
  seed: number;
  /** Folder of the foundation. */
  foundation: string;
  /** Hash of the code when the job began: its parts are processes of their own, and somebody may be editing. */
  code: string;
  smoke: boolean;
}

/** Guidance scales of the joint model's little curve; the paper draws at 7.5 and measures FID at 2. */
export const guidanceScales = [1, 2, 4] as const;

export const sizesOf = ({ smoke }: MainContext) => (smoke ? smokeSizes : fullSizes);

/**
 * The parts of the main job that compute, each run in a process of its own. Values are plain data; models and pictures lie in the job's folder. `stage`s are
 * named by folders relative to it.
 */
export const mainTasks = {
  async data({ out, seed }: MainContext): Promise<{ captions: string[] }> {
    const pairs = Array.from({ length: 48 }, (_, i) => pairAt(seed, i, { split: 'train' }));
    await sheet(out, 'data.png', pairs.map(({ image }) => pictureOf(image)), 16);
    return { captions: pairs.map(({ caption }) => caption) };
  },

  async foundation(context: MainContext, _: unknown, { signal }: LaneTools): Promise<MainResult['foundation']> {
    await useBackend();
    const { out, foundation } = context;
    return measureFoundation({ sizes: sizesOf(context), foundation, signal, onDrawings: (drawings) => sheet(out, 'foundation.png', sheetRows(drawings, 16), 16) });
  },

  /** Trains a stage of an arm, and before it those that it starts from. Returns the folder. */
  async train(context: MainContext, { arm, name }: { arm: SynergyArm; name: StageName }, { signal, report }: LaneTools): Promise<string> {
    await useBackend();
    const { out, seed, foundation, code, smoke } = context;
    const progress = (label: string, total: number): Progress => ({ update: (done) => report({ label: `${arm} ${label}`, done, total }), say() {}, end() {} });
    const graph = stageGraph({ folder: join(out, 'stages'), foundation, code, signal, progress, ...(smoke ? { steps: 4 } : {}) });
    const changes = name === 'i-gpt' || name === 'sft' ? { lossWeights: synergyArms[arm] } : {};
    return join('stages', basename(await graph.stage(name, { seed, ...changes })));
  },

  comprehension: (context: MainContext, { stage }: { stage: string }, { signal }: LaneTools): Promise<Measurement[]> =>
    withModel(context, stage, (subject) => measureComprehension(subject, { sizes: sizesOf(context), signal })),

  /** `scales`: guidance scales of a curve, beside the one that creation is reported at. */
  creation: (context: MainContext, { stage, arm, scales }: { stage: string; arm: SynergyArm; scales: readonly number[] }, { signal }: LaneTools): ReturnType<typeof measureCreationAtScales> =>
    withModel(context, stage, (subject) => {
      const { out, foundation } = context;
      const onDrawings = (drawings: Drawings) => sheet(out, `${arm}.png`, sheetRows(drawings, 16), 16);
      return measureCreationAtScales(subject, scales, { sizes: sizesOf(context), foundation, signal, onDrawings });
    }),

  use: (context: MainContext, { stage }: { stage: string }, { signal }: LaneTools): Promise<UseResult> =>
    withModel(context, stage, (subject) => useModel(subject, context.out, context.seed, signal)),

  async samples({ out, foundation, smoke }: MainContext, { stages }: { stages: Record<StageName, string> }, { signal }: LaneTools): Promise<MainResult['samples']> {
    await useBackend();
    const folders = Object.fromEntries(stageNames.map((name) => [name, join(out, stages[name])])) as Record<StageName, string>;
    return drawSamples({ stages: folders, foundation, out: join(out, 'pictures'), ...(smoke ? { steps: 2, candidates: 8 } : {}), signal });
  },
} satisfies LaneTasks<MainContext>;

async function withModel<Value>({ out }: MainContext, stage: string, use: (subject: Subject) => Promise<Value>): Promise<Value> {
  await useBackend();
  const subject = openNano(join(out, stage));
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
