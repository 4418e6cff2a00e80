import * as tf from '@tensorflow/tfjs';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { contactSheet, encodePng, type RgbImage } from '../core/images.js';
import { nano } from '../dreamllm/presets.js';
import { drawTestSet, evaluationGuidance, type Drawings } from '../eval/nano/creation.js';
import { loadFoundation } from '../train/hand-off.js';
import type { StageName } from '../train/stages.js';
import { drawFromText } from './foundation-drawings.js';
import { nanoClipJudge, openNano } from './measure-nano.js';

/** Contact sheets of fixed held-out prompts, chosen by their number alone: each stage, each guidance scale, and the worst of many. */
export interface Samples {
  /** Prompts of the sheets, a column each. */
  prompts: string[];
  /** Rows of `pictures/stages.png`, from the top. */
  stages: string[];
  /** Rows of `pictures/guidance.png`. */
  scales: number[];
  /** What `pictures/failures.png` shows: the drawings farthest from the true picture among the first `of` prompts. */
  failures: { of: number; prompts: string[]; distance: string };
  /** How they were drawn. */
  protocol: Drawings['protocol'];
}

const drawingStages = ['alignment-creation', 'i-gpt', 'sft'] as const satisfies readonly StageName[];
/** The paper draws at 7.5 and measures FID at 2; 1 is no guidance. */
const sheetScales = [1, 2, 4, 7.5];
const columns = 8;
const guidanceScale = evaluationGuidance;

export interface SampleOptions {
  /** Folder of each stage. */
  stages: Readonly<Record<StageName, string>>;
  foundation: string;
  /** Where the sheets go: `stages.png`, `guidance.png`, `failures.png` and `stage-NAME.png`, true pictures above drawn ones. */
  out: string;
  steps?: number;
  /** Prompts among which failures are looked for. */
  candidates?: number;
  signal?: AbortSignal;
}

/** Draws the sheets of a finished job. */
export async function drawSamples({ stages, foundation, out, steps = 20, candidates = 48, signal }: SampleOptions): Promise<Samples> {
  const sheet = async (name: string, rows: readonly { label: string; images: readonly RgbImage[] }[]) => {
    const width = rows[0].images.length;
    const labels = rows.flatMap(({ label }) => Array<string>(width).fill(label));
    writeFileSync(join(out, name), await encodePng(contactSheet(rows.flatMap(({ images }) => images), { columns: width, scale: 2, labels })));
  };
  const options = { count: columns, steps, guidanceScale, signal };

  const text = await drawFoundation(foundation, { count: columns, steps, signal });
  const truth = { label: 'true', images: text.real };
  const rows = [truth, { label: 'foundation', images: text.drawn }];
  const scales: typeof rows = [truth];
  let failures: Samples['failures'] | undefined;
  for (const [i, name] of drawingStages.entries()) {
    const subject = openNano(stages[name]);
    try {
      const isLast = name === 'sft';
      const drawings = await drawTestSet(subject, isLast ? { ...options, count: Math.max(columns, candidates) } : { ...options, unprompted: false });
      const drawn = { label: `stage ${'I'.repeat(i + 1)}`, images: drawings.drawn.slice(0, columns) };
      rows.push(drawn);
      await sheet(`stage-${name}.png`, [truth, { ...drawn, label: 'drawn' }]);
      if (!isLast) continue;
      rows.push({ label: 'no prompt', images: drawings.unprompted.slice(0, columns) });
      const worst = farthest(drawings, columns);
      const of = (images: readonly RgbImage[]) => worst.map((row) => images[row]);
      await sheet('failures.png', [{ label: 'asked for', images: of(drawings.real) }, { label: 'drawn', images: of(drawings.drawn) }]);
      failures = { of: drawings.prompts.length, prompts: worst.map((row) => drawings.prompts[row]), distance: 'mean squared difference of the pixels' };
      for (const scale of sheetScales) {
        const { drawn: images } = scale === guidanceScale ? { drawn: drawn.images } : await drawTestSet(subject, { ...options, guidanceScale: scale, unprompted: false });
        scales.push({ label: `scale ${scale}`, images });
      }
    } finally {
      subject.dispose();
    }
  }
  await sheet('stages.png', rows);
  await sheet('guidance.png', scales);
  return { prompts: [...text.prompts], stages: rows.map(({ label }) => label), scales: sheetScales, failures: failures!, protocol: { ...text.protocol, modelScale: 'nano', guidanceScale } };
}

async function drawFoundation(folder: string, options: { count: number; steps: number; signal?: AbortSignal }): Promise<Drawings> {
  const params = loadFoundation(nano, folder, 0);
  const judge = nanoClipJudge(folder);
  try {
    return await drawFromText({ ...params.stable_diffusion_head, judge }, { ...options, unprompted: false });
  } finally {
    judge.dispose();
    tf.dispose(params as unknown as tf.TensorContainer);
  }
}

/** Rows whose drawing differs most from the true picture, worst first. */
function farthest({ drawn, real }: Drawings, count: number): number[] {
  const distance = drawn.map(({ data }, row) => data.reduce((sum, value, i) => sum + (value - real[row].data[i]) ** 2, 0));
  return distance.map((_, row) => row).sort((a, b) => distance[b] - distance[a]).slice(0, count);
}
