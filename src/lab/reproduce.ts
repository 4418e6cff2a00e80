import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { renderFigure, stopDrawing } from '../kernel/static-figure.js';
import { latencyFigure } from './chapters.js';
import { sweepFigures } from './experiments/figures.js';
import { sweepFindings } from './experiments/findings.js';
import { declaredTables, mainJobRecords } from './experiments/index.js';
import { readJson } from './files.js';
import type { Figure } from './figures/figure.js';
import { findingsMarkdown } from './findings.js';
import { loadSweep } from './load-sweep.js';
import type { MainResult } from './main-job.js';
import { paperTableNames } from './paper.js';
import { paperComparison } from './paper-tables.js';
import { generatedParts, measuredMarkdown, withParts } from './readme.js';
import { readRecords } from './records.js';
import { abilityRadar, guidanceFigure, synergyFigures } from './report.js';
import { toHtml, toLatex, toMarkdown } from './tables.js';
import type { TrialRecord } from './trial.js';

export interface Reproduction {
  /** Files that were written, relative to the output folder. */
  files: string[];
  /** What could not be made, and why. */
  missing: string[];
}

export interface ReproduceOptions {
  experiments: string;
  out: string;
  /** Documents whose generated parts are written anew. */
  documents?: readonly GeneratedDocument[];
  say?(line: string): void;
}

/**
 * Rebuilds every table and figure that committed records allow: tables of the paper with the counterparts of `experiments/NAME/results.jsonl` and
 * `experiments/main-job/result.json`, the figures of each, and the parts of documents that are made of numbers. The same records give the same bytes; nothing is trained or measured.
 */
export async function reproduce({ experiments, out, documents = [], say = () => undefined }: ReproduceOptions): Promise<Reproduction> {
  const missing: string[] = [];
  const sources: string[] = [];
  const records: TrialRecord[] = [];
  const figures = new Map<string, () => Figure>([['paper-latency', latencyFigure]]);

  for (const name of Object.keys(sweepFigures).sort()) {
    const file = join(experiments, name, 'results.jsonl');
    if (!existsSync(file)) {
      missing.push(`experiments/${name}/results.jsonl: not run yet. dreamllm sweep experiments/${name}/sweep.ts --out runs/${name}`);
      continue;
    }
    const own = readRecords(file);
    records.push(...own);
    sources.push(source(`experiments/${name}/results.jsonl`, file, `${own.length} records`));
    for (const [figure, draw] of Object.entries(sweepFigures[name])) figures.set(`${name}-${figure}`, () => draw(own));
  }

  const main = join(experiments, 'main-job', 'result.json');
  const result = readJson<MainResult>(main);
  if (result) {
    records.push(...mainJobRecords(result));
    sources.push(source('experiments/main-job/result.json', main, `one seed, ${result.seed}`));
    const job = { folder: dirname(main), result };
    figures.set('main-job-comprehension', () => synergyFigures(job)[0]);
    figures.set('main-job-creation', () => synergyFigures(job)[1]);
    figures.set('main-job-abilities', () => abilityRadar(job));
    figures.set('main-job-guidance', () => guidanceFigure(job));
  } else missing.push('experiments/main-job/result.json: npm start has not been run, or its result was not copied there.');

  const made = new Map<string, string>();
  const write = (name: string, text: string) => made.set(name, text);

  for (const [name, text] of tableFiles(records)) write(name, text);
  say(`${paperTableNames().length} tables of the paper.`);

  if (result) write('main-job.md', measuredMarkdown(result));

  try {
    for (const [name, draw] of figures) {
      let figure: Figure;
      try {
        figure = draw();
      } catch (error) {
        // A sweep that is half done cannot give every figure; which one and why is part of the answer.
        missing.push(`figure ${name}: ${(error as Error).message}`);
        continue;
      }
      write(`figures/${name}.json`, `${JSON.stringify(figure, null, 1)}\n`);
      write(`figures/${name}.svg`, await renderFigure(figure, { format: 'svg' }));
    }
  } finally {
    await stopDrawing();
  }
  say(`${figures.size} figures.`);
  const files = [...made.keys()];
  write('README.md', overview(sources, files, missing));
  // Nothing of the last time is touched before all is made.
  for (const folder of ['tables', 'figures']) rmSync(join(out, folder), { recursive: true, force: true });
  for (const [name, text] of made) {
    mkdirSync(dirname(join(out, name)), { recursive: true });
    writeFileSync(join(out, name), text);
  }
  for (const document of documents) {
    if (document.of === 'main-job' && !result) continue;
    const text = readFileSync(document.path, 'utf8');
    const next = withParts(text, await partsOf(document, experiments));
    if (next !== text) writeFileSync(document.path, next);
    say(`${document.path}: generated parts ${next === text ? 'are up to date' : 'written anew'}.`);
  }
  return { files, missing };
}

/** Every table of the paper beside what `records` hold, in three formats, by the file that it is written to. */
export function* tableFiles(records: readonly TrialRecord[]): Generator<[name: string, text: string]> {
  for (const name of paperTableNames()) {
    const table = paperComparison(name, declaredTables, records);
    yield [`tables/${name}.md`, `${toMarkdown(table)}\n`];
    yield [`tables/${name}.tex`, `${toLatex(table)}\n`];
    yield [`tables/${name}.html`, `${toHtml(table)}\n`];
  }
}

/** Names a source by its content, so that a number can be traced to the records it came from. */
const source = (name: string, path: string, what: string) => `\`${name}\`, ${what}, SHA-256 \`${createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16)}\``;

function overview(sources: readonly string[], files: readonly string[], missing: readonly string[]): string {
  const list = (items: readonly string[]) => (items.length ? items.map((item) => `- ${item}`).join('\n') : '- none');
  return `# Reproduced tables and figures

Made by \`npm run reproduce\` from the records below; do not edit.

Records:

${list(sources)}

Missing:

${list(missing)}

Files:

${list(files.map((file) => `[${file}](${file})`))}
`;
}

/** Names of the folders under `experiments` that hold a sweep. */
export const experimentNames = (experiments: string): string[] =>
  readdirSync(experiments)
    .filter((name) => existsSync(join(experiments, name, 'sweep.ts')))
    .sort();

/** A document with parts that are made from the record `of` the main job or a sweep. */
export interface GeneratedDocument {
  path: string;
  of: string;
  /** What leads from the document to the repository's root. */
  prefix: string;
}

/** The documents of the repository that have generated parts. */
export const generatedDocuments = (root: string): GeneratedDocument[] => [
  { path: join(root, 'README.md'), of: 'main-job', prefix: '' },
  ...['main-job', ...Object.keys(sweepFindings)].map((of) => ({ path: join(root, 'experiments', of, 'README.md'), of, prefix: '../../' })),
];

/** What the generated parts of a document must say, by their names. */
export async function partsOf({ of, prefix }: GeneratedDocument, experiments: string): Promise<Record<string, string>> {
  const folder = join(experiments, of);
  if (of === 'main-job') return generatedParts(readJson<MainResult>(join(folder, 'result.json'))!, prefix);
  const file = join(folder, 'results.jsonl');
  if (!existsSync(file)) return { result: 'This sweep has not been run. To commit a result, copy its `results.jsonl` here, run `npm run reproduce`, and say in this file what came out.' };
  const sweep = await loadSweep(join(folder, 'sweep.ts'));
  return { result: findingsMarkdown(sweep, sweepFindings[of], readRecords(file), { name: 'results.jsonl', bytes: readFileSync(file) }) };
}
