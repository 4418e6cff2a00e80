import { prompts } from '../../data/instructions.js';
import { caption } from '../../data/captions.js';
import { questionPrompt } from '../../dreamllm/comprehend.js';
import { nano } from '../../dreamllm/presets.js';
import { drawTestSet, testScenes, type Drawings } from '../../eval/nano/creation.js';
import { defaultTestSet } from '../../eval/nano/comprehension.js';
import { continueAll, type Subject } from '../../eval/nano/subject.js';
import { measurement, type Measurement } from '../../eval/protocol.js';
import { wilson } from '../../eval/statistics.js';
import { loadFoundation } from '../../train/hand-off.js';
import { drawFromText } from '../foundation-drawings.js';
import { measureDrawings, nanoClipJudge } from '../measure-nano.js';
import type { DeclaredTable } from '../paper-tables.js';
import * as tf from '@tensorflow/tfjs';
import { nanoSweep, type MeasuringOptions, type NanoOptions } from './nano.js';
import { withSamples } from './samples.js';

/**
 * `end-to-end`: DreamLLM draws from its dream queries. `rewrite`: its language model writes a caption, and the U-Net draws that from CLIP's text states.
 * `text`: the U-Net draws the prompt itself, as Stable Diffusion does. `stage-I`: DreamLLM after stage I.
 */
const pipelines = ['end-to-end', 'rewrite', 'text', 'stage-I'] as const;
type RewriteConfig = { pipeline: (typeof pipelines)[number] };

const guidanceScale = 2;

/** Tables 10 and 2: the same prompts, noise, steps and guidance by four ways through one foundation. */
export const rewriteThenGenerate = (options?: NanoOptions) =>
  nanoSweep<RewriteConfig>(
    {
      name: 'rewrite-then-generate',
      question: 'Does drawing end to end beat a language model that rewrites the prompt for a text-to-image model?',
      base: { pipeline: 'end-to-end' },
      grid: { pipeline: pipelines },
      seeds: [0, 1, 2],
      secondsPerTrial: 120,
      recipe: ({ pipeline }) => (pipeline === 'stage-I' ? { last: 'alignment-creation' } : {}),
      measurements: { creation: { run: measure } },
    },
    options,
  );

async function measure(subject: Subject, { pipeline }: RewriteConfig, how: MeasuringOptions): Promise<Measurement[]> {
  const { sizes, foundation, signal } = how;
  if (pipeline === 'end-to-end' || pipeline === 'stage-I') {
    const drawings = await drawTestSet(subject, { count: sizes.pictures, guidanceScale, signal });
    return withSamples(await measureDrawings(drawings, foundation, signal), drawings);
  }
  if (pipeline === 'text') {
    const drawings = await drawTexts(undefined, how);
    return withSamples(await measureDrawings(drawings, foundation, signal), drawings);
  }
  const scenes = testScenes(defaultTestSet, sizes.pictures);
  const written = await rewrite(subject, scenes.map((scene) => caption(scene, 'full')), signal);
  const drawings = await drawTexts(written, how);
  const told: Drawings = { ...drawings, protocol: { ...drawings.protocol, captionPolicy: 'full caption, rewritten by the language model', modelScale: 'nano' } };
  // A rewriting may lose what the picture is to show: it is then the text, not the U-Net, that fails.
  const kept = (word: (index: number) => string) => scenes.filter((_, i) => written[i].includes(word(i))).length;
  const n = scenes.length;
  const share = (metric: string, hits: number) =>
    measurement({ metric, value: hits / n, n, ci: wilson(hits, n, 0.95, 'prompts'), protocol: { ...told.protocol, size: n, matcher: 'the word is in the rewritten text' } });
  const examples = written.slice(0, 8).map((text, i) => ({ prompt: told.prompts[i], written: text }));
  return [
    ...(await withSamples(await measureDrawings(told, foundation, signal), told)),
    { ...share('kept-object', kept((i) => scenes[i].objects[0].concept)), details: { examples } },
    share('kept-ground', kept((i) => scenes[i].ground)),
  ];
}

/** What the language model makes of each prompt when it is asked to describe the picture that the prompt is of. */
export async function rewrite(subject: Subject, texts: readonly string[], signal?: AbortSignal): Promise<string[]> {
  const asked = texts.map((text) => questionPrompt([], `${text}. ${prompts.describe[0]}`, subject.model.config.template));
  const written = await continueAll(subject, asked, { maxNewTokens: 32, signal });
  return written.map((text) => text.replace(/\.$/, ''));
}

async function drawTexts(texts: readonly string[] | undefined, { sizes, foundation, signal }: MeasuringOptions): Promise<Drawings> {
  const params = loadFoundation(nano, foundation, 0);
  const judge = nanoClipJudge(foundation);
  try {
    const { unet, vae } = params.stable_diffusion_head;
    return await drawFromText({ unet, vae, judge }, { count: sizes.pictures, texts, guidanceScale, signal });
  } finally {
    tf.dispose(params as unknown as tf.TensorContainer);
    judge.dispose();
  }
}

const fid = { metric: 'fid', higherIsBetter: false } as const;
const sweeps = ['rewrite-then-generate'];

export const rewriteTables: readonly DeclaredTable[] = [
  {
    sweeps, title: 'Rewrite, then generate', paperTable: 'table10_rewrite_then_generate', paperModel: '7B', projectModel: 'nano, emoji world',
    counterparts: [
      { label: 'end-to-end', paper: { method: 'DreamLLM-7B' }, where: { pipeline: 'end-to-end' }, ...fid },
      { label: 'rewrite', paper: { method: 'Rewrite-then-generate baseline' }, where: { pipeline: 'rewrite' }, ...fid, against: 'end-to-end' },
    ],
  },
  {
    sweeps, title: 'Text to image', paperTable: 'table2_text2image_fid', paperModel: '7B; best of 8 on MS-COCO', projectModel: 'nano, emoji world, one picture a prompt',
    counterparts: [
      { label: 'text-conditioned U-Net', paper: { method: 'Stable Diffusion v2.1', benchmark: 'MS-COCO' }, where: { pipeline: 'text' }, ...fid },
      { label: 'stage I', paper: { method: 'DreamLLM-7B (after stage I)', benchmark: 'MS-COCO' }, where: { pipeline: 'stage-I' }, ...fid, against: 'text-conditioned U-Net' },
      { label: 'joint', paper: { method: 'DreamLLM-7B', benchmark: 'MS-COCO' }, where: { pipeline: 'end-to-end' }, ...fid, against: 'text-conditioned U-Net' },
    ],
  },
];
