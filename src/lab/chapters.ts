import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as aq from 'arquero';
import { decodeImage, type RgbImage } from '../core/images.js';
import { covers, specEntries } from '../core/params.js';
import { packageRoot } from '../core/process.js';
import { dreamSpec } from '../dreamllm/model.js';
import { nano as nanoModel } from '../dreamllm/presets.js';
import { optionLikelihood } from '../eval/nano/comprehension.js';
import { embedPictures, embedTexts } from '../eval/nano/clip.js';
import type { Subject } from '../eval/nano/subject.js';
import type { Interval } from '../eval/protocol.js';
import { mean, signFlipTest } from '../eval/statistics.js';
import { readFoundation } from '../train/foundation/trainer.js';
import { nano, type StageName } from '../train/stages.js';
import { sweepFigures } from './experiments/figures.js';
import { committedRecords } from './committed.js';
import { declaredTables } from './experiments/index.js';
import { bars } from './figures/bars.js';
import type { Curve } from './figures/curves.js';
import { curves } from './figures/curves.js';
import type { Figure } from './figures/figure.js';
import { type Job, jobPicture, stageEvents } from './job.js';
import { nanoClipJudge, openNano } from './measure-nano.js';
import { paperValues } from './paper.js';
import { paperComparison } from './paper-tables.js';
import { readRecords } from './records.js';
import { find } from './report.js';
import type { SynergyArm } from './synergy.js';
import { digits, escapeHtml, formatMeasured } from './tables.js';
import { trend } from './verdicts.js';

/** What only the chapters under notebooks/ show. */

/** Rows of plain objects as a table. */
export const aqFrom = (rows: readonly Record<string, unknown>[]): aq.ColumnTable => aq.from([...rows]);

/** The logged curves of the committed foundation: part, then name of the number. */
export function foundationCurves(folder = join(packageRoot(), 'data/foundation')): Record<string, Record<string, Curve>> {
  const record = readFoundation(folder);
  if (!record) throw new Error(`${folder} has no foundation.json. Train one: dreamllm foundation train.`);
  return Object.fromEntries(
    Object.entries(record.parts).map(([part, { curves: logged }]) => [
      part,
      Object.fromEntries(Object.entries(logged).map(([name, points]) => [name, { name, x: points.map(([step]) => step), y: points.map(([, value]) => value) }])),
    ]),
  );
}

/** A written document of the job as HTML, pictures included. */
export function documentHtml(job: Job, index: number): string {
  const { prompt, parts } = job.result.use.documents[index];
  const shown = parts.map((part) =>
    'text' in part ? escapeHtml(part.text) : `<br><img width="96" alt="drawn picture" src="data:image/png;base64,${Buffer.from(jobPicture(job, part.picture)).toString('base64')}"><br>`,
  );
  return `<p><b>${escapeHtml(prompt)}</b> ${shown.join(' ')}</p>`;
}

/** The trained model of one stage of the job, ready to be asked and to draw. Dispose it with `dispose()`. */
export const openStage = ({ folder, result }: Job, name: StageName = 'sft', arm: SynergyArm = 'joint'): Subject & { dispose(): void } => openNano(join(folder, result.stages[arm][name]));

/** What trains in a stage of nano, and what share of all parameters that is. */
export function trainedParts(name: StageName): { part: string; parameters: number; share: string }[] {
  const entries = [...specEntries(dreamSpec(nanoModel))].map(([key, { shape }]) => ({ key, size: shape.reduce((a, b) => a * b, 1) }));
  const total = entries.reduce((sum, { size }) => sum + size, 0);
  return nano[name].trainable.map((part) => {
    const parameters = entries.filter(({ key }) => covers(part, key)).reduce((sum, { size }) => sum + size, 0);
    return { part, parameters, share: `${((100 * parameters) / total).toFixed(2)} %` };
  });
}

/** How each loss of a stage went, and its held-out values at fixed noise: a sentence each. */
export function lossSentences(job: Job, name: StageName): string[] {
  const events = stageEvents(job, name);
  const steps = events.filter(({ type }) => type === 'step');
  const losses = (['lm', 'diffusion'] as const).flatMap((part) => {
    const values = steps.map((event) => event[part] as number).filter((value) => value > 0);
    return values.length ? [trend(part === 'lm' ? 'Language loss' : 'Diffusion loss', values)] : [];
  });
  const heldOut = (['valLm', 'valDiffusion'] as const).flatMap((part) => {
    const values = events.filter(({ type, [part]: value }) => type === 'evaluation' && typeof value === 'number' && value > 0).map((event) => event[part] as number);
    if (values.length < 2) return [];
    return [`Held out, the ${part === 'valLm' ? 'language' : 'diffusion'} loss went from ${digits(values[0])} to ${digits(values.at(-1)!)}; its lowest of ${values.length} values was ${digits(Math.min(...values))}.`];
  });
  return [...losses, ...heldOut];
}

/** The figure of a sweep's committed records, or a sentence that says how to make them. */
export function sweepFigure(sweep: string, name: string): Figure | string {
  const draw = sweepFigures[sweep]?.[name];
  if (!draw) throw new Error(`Sweep "${sweep}" has no figure "${name}". There are ${Object.entries(sweepFigures).map(([key, figures]) => `${key}: ${Object.keys(figures).join(', ')}`).join('; ')}.`);
  const file = join(packageRoot(), 'experiments', sweep, 'results.jsonl');
  if (!existsSync(file)) return `Not run yet: experiments/${sweep}/results.jsonl is missing. Run: npx dreamllm sweep experiments/${sweep}/sweep.ts --out runs/${sweep}`;
  try {
    return draw(readRecords(file));
  } catch (error) {
    return `The records of experiments/${sweep} do not give this figure yet: ${(error as Error).message}`;
  }
}

/** A table of the paper with this project's counterparts from committed records, and how many of its rows have which state. */
export function comparisonOf(name: string): { rows: aq.ColumnTable; states: Record<string, number>; notes: readonly string[] } {
  const table = paperComparison(name, declaredTables, committedRecords(join(packageRoot(), 'experiments')));
  const rows = table.rows.map(({ label, metric, paper, project, state }) => ({ row: label, metric, paper: paper?.value ?? null, here: project ? formatMeasured(project) : null, n: project ? `${project.n} ${project.over}` : null, state }));
  const states: Record<string, number> = {};
  for (const { state } of table.rows) states[state] = (states[state] ?? 0) + 1;
  return { rows: aqFrom(rows), states, notes: table.notes };
}

/** Multiple choice by second-level ability: first rotations right, with and without the picture, 95 % Wilson intervals. */
export function abilityBars({ result: { arms } }: Job, arm: SynergyArm = 'joint'): Figure {
  const rows = (picture: boolean, name: string) => {
    const { details } = find(arms[arm].comprehension, 'mmbench-circular', { matcher: optionLikelihood, picture });
    const { l2 } = (details as { abilities: { l2: Record<string, { accuracy: number; ci: Interval }> } }).abilities;
    return { name, bars: Object.entries(l2).map(([label, { accuracy, ci }]) => ({ label, value: accuracy, ci: [ci.low, ci.high] as const })) };
  };
  return bars('Circular accuracy by ability', 'share of questions right in every rotation', [rows(true, 'with the picture'), rows(false, 'without it')]);
}

export interface DocumentMatch {
  /** Mean 100 · cosine of each drawn picture with the text before it, and with the texts of the other pictures. */
  matched: number;
  mismatched: number;
  pictures: number;
  /** Two-sided sign-flip test over pictures. */
  p: number;
  sentence: string;
}

/** Whether the pictures of the job's documents go with the text before them better than with that before other pictures, by the foundation's CLIP. */
export async function documentMatch({ folder, result }: Job): Promise<DocumentMatch> {
  const pairs = result.use.documents.flatMap(({ prompt, parts }) =>
    parts.flatMap((part, i) => {
      if (!('picture' in part)) return [];
      const before = parts[i - 1];
      return [{ file: part.picture, text: before && 'text' in before ? before.text : prompt }];
    }),
  );
  if (pairs.length < 2) return { matched: NaN, mismatched: NaN, pictures: pairs.length, p: 1, sentence: `The documents hold ${pairs.length} pictures; a comparison needs two.` };
  const pictures = await Promise.all(pairs.map(async ({ file }) => decodeSheet(readFileSync(join(folder, file)))));
  const judge = nanoClipJudge();
  try {
    const [images, texts] = [await embedPictures(judge, pictures), await embedTexts(judge, pairs.map(({ text }) => text))];
    const dim = judge.config.projectionSize;
    const cosine = (i: number, j: number) => 100 * images.subarray(i * dim, (i + 1) * dim).reduce((sum, value, c) => sum + value * texts[j * dim + c], 0);
    const matched = pairs.map((_, i) => cosine(i, i));
    const mismatched = pairs.map((_, i) => mean(pairs.flatMap((_, j) => (j === i ? [] : [cosine(i, j)]))));
    const { p } = signFlipTest(mismatched, matched);
    const [own, other] = [mean(matched), mean(mismatched)];
    const verdict = p >= 0.05 ? 'they cannot be told apart' : own > other ? 'pictures go with their own text' : 'pictures go with other texts better';
    return { matched: own, mismatched: other, pictures: pairs.length, p, sentence: `${pairs.length} pictures: CLIP score ${digits(own)} with the text before, ${digits(other)} with that before the others (sign-flip p = ${digits(p)}): ${verdict}.` };
  } finally {
    judge.dispose();
  }
}

/** Takes one picture out of the sheet that holds it alone, at the size that CLIP reads. */
async function decodeSheet(png: Uint8Array): Promise<RgbImage> {
  const { width, height, data } = await decodeImage(png);
  const gap = (width - 2 * nanoModel.imageSize) / 2;
  if (!Number.isInteger(gap) || width !== height || gap < 0) throw new Error(`Expected one picture of ${nanoModel.imageSize} pixels at twice its size with a frame, found ${width} x ${height}.`);
  const inner = new Uint8Array(3 * nanoModel.imageSize ** 2);
  for (let y = 0; y < nanoModel.imageSize; y++) {
    for (let x = 0; x < nanoModel.imageSize; x++) {
      const from = 3 * ((gap + 2 * y) * width + gap + 2 * x);
      inner.set(data.subarray(from, from + 3), 3 * (y * nanoModel.imageSize + x));
    }
  }
  return { width: nanoModel.imageSize, height: nanoModel.imageSize, data: inner };
}

/** Maps with values of 0 and more as grey pictures, each scaled by the largest of all: white is the largest. */
export function greyMaps(maps: readonly (readonly (readonly number[])[])[]): RgbImage[] {
  const largest = Math.max(...maps.flat(2)) || 1;
  return maps.map((rows) => ({ width: rows[0].length, height: rows.length, data: Uint8Array.from(rows.flat().flatMap((value) => Array<number>(3).fill(Math.round((255 * value) / largest)))) }));
}

/** Root of the mean squared difference of two pictures, on bytes. */
export function pictureDistance(a: RgbImage, b: RgbImage): number {
  if (a.data.length !== b.data.length) throw new Error(`Expected pictures of one size, found ${a.width} x ${a.height} and ${b.width} x ${b.height}.`);
  return Math.sqrt(a.data.reduce((sum, value, i) => sum + (value - b.data[i]) ** 2, 0) / a.data.length);
}

/** Table 9b: seconds per image against steps, DreamLLM and Stable Diffusion, as printed. */
export function latencyFigure(): Figure {
  const values = paperValues('table9b_inference_latency');
  const methods = [...new Set(values.map(({ method }) => method))];
  const steps = (benchmark: string) => Number(/\d+/.exec(benchmark)?.[0]);
  return curves(
    'Seconds per image (paper, Table 9b)',
    'sampling steps',
    'seconds',
    methods.map((name) => {
      const points = values.filter(({ method }) => method === name).map(({ benchmark, value }) => [steps(benchmark), Number(value)] as const);
      points.sort(([a], [b]) => a - b);
      return { name, x: points.map(([x]) => x), y: points.map(([, y]) => y) };
    }),
  );
}

/** The chapters' names, in the order of reading. */
export const chapterNames = [
  'tour', 'foundation', 'alignment', 'interleaved-pretraining', 'instruction-tuning', 'comprehension', 'creation', 'interleaved', 'synergy', 'dream-queries', 'image-to-image', 'paper-tables',
] as const;
export type ChapterName = (typeof chapterNames)[number];

/** The percent-format source of a chapter; also a check that none is left out of the order. */
export function chapterSource(name: ChapterName): string {
  const folder = join(packageRoot(), 'notebooks');
  const unknown = readdirSync(folder).filter((file) => file.endsWith('.ts') && !chapterNames.some((known) => `${known}.ts` === file));
  if (unknown.length) throw new Error(`notebooks/ has ${unknown.join(', ')}, which chapterNames does not list.`);
  return readFileSync(join(folder, `${name}.ts`), 'utf8');
}
