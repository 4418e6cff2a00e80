import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as aq from 'arquero';
import { packageRoot } from '../core/process.js';
import { readFoundation } from '../train/foundation/trainer.js';
import type { Curve } from './figures/curves.js';
import { curves } from './figures/curves.js';
import type { Figure } from './figures/figure.js';
import { type Job, jobPicture } from './job.js';
import { paperValues } from './paper.js';
import { escapeHtml } from './tables.js';

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
export const chapterNames = ['tour', 'foundation', 'stages', 'comprehension', 'creation', 'interleaved', 'synergy', 'paper-tables'] as const;

/** The percent-format source of a chapter; also a check that none is left out of the order. */
export function chapterSource(name: (typeof chapterNames)[number]): string {
  const folder = join(packageRoot(), 'notebooks');
  const unknown = readdirSync(folder).filter((file) => file.endsWith('.ts') && !chapterNames.some((known) => `${known}.ts` === file));
  if (unknown.length) throw new Error(`notebooks/ has ${unknown.join(', ')}, which chapterNames does not list.`);
  return readFileSync(join(folder, `${name}.ts`), 'utf8');
}
