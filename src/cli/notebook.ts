import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { checkNotebook, readEither } from '../kernel/document/check.js';
import { markStale } from '../kernel/document/freshness.js';
import { BadNotebook, isCode, readNotebook, sourceOf, strip, writeNotebook, writeText, type Notebook } from '../kernel/document/notebook.js';
import { toHtml } from '../kernel/document/page.js';
import { parseParameter } from '../kernel/document/parameters.js';
import { fromPercent, toPercent } from '../kernel/document/percent.js';
import { runNotebook } from '../kernel/document/run.js';
import { UsageError, type Arguments, type Command } from './command.js';

type Verb = (file: string, args: Arguments, signal: AbortSignal) => Promise<boolean> | boolean;

/** What is done with each file. Returns whether it went well. */
const verbs: Record<string, Verb> = {
  async run(file, { values }, signal) {
    const timeout = values.timeout === undefined ? undefined : Number(values.timeout);
    if (timeout !== undefined && !(timeout > 0)) throw new UsageError(`--timeout: expected seconds, found "${String(values.timeout)}".`);
    const failures = await runNotebook(file, {
      parameters: Object.fromEntries(((values.parameter as string[] | undefined) ?? []).map(parseParameter)),
      resume: values.resume === true,
      keepGoing: values['keep-going'] === true,
      signal,
      onProgress: (line) => console.error(`${file}: ${line}`),
      ...(typeof values.out === 'string' ? { out: values.out } : {}),
      ...(timeout === undefined ? {} : { timeout }),
    });
    for (const { cell, ename, evalue } of failures) console.error(`${file}, cell ${cell}: ${ename}: ${evalue}`);
    return failures.length === 0;
  },

  check(file) {
    const { problems, stale } = checkNotebook(file);
    const notebook = readEither(file);
    for (const { cell, problem } of problems) {
      const line = sourceOf(notebook.cells[cell - 1]).split('\n')[problem.line - 1] ?? '';
      console.log(`${file}, cell ${cell}, line ${problem.line}, column ${problem.column}: TS${problem.code}: ${problem.message}\n    ${line.trim()}`);
    }
    for (const { cell, reason } of stale) console.log(`${file}, cell ${cell}: stale: ${reason}`);
    if (file.endsWith('.ipynb')) saveIfChanged(file, notebook, markStale);
    if (problems.length === 0) console.log(`${file}: ${notebook.cells.filter(isCode).length} cells, no type errors`);
    return problems.length === 0;
  },

  strip(file, { values }) {
    writeNotebook(outOf(values) ?? file, strip(readNotebook(file)));
    return true;
  },

  pair(file, { values }) {
    if (file.endsWith('.ipynb')) {
      const script = outOf(values) ?? file.replace(/\.ipynb$/, '.ts');
      writeText(script, toPercent(readNotebook(file)));
      console.log(`${script} written from ${file}`);
    } else if (file.endsWith('.ts')) {
      const notebook = outOf(values) ?? file.replace(/\.ts$/, '.ipynb');
      writeNotebook(notebook, fromPercent(readFileSync(file, 'utf8'), existsSync(notebook) ? readNotebook(notebook) : undefined));
      console.log(`${notebook} written from ${file}`);
    } else throw new UsageError(`${file}: expected a notebook (.ipynb) or a percent-format script (.ts).`);
    return true;
  },

  html(file, { values }) {
    const page = outOf(values) ?? file.replace(/\.(ipynb|ts)$/, '.html');
    writeText(page, toHtml(readEither(file), basename(file).replace(/\.\w+$/, '')));
    console.log(`${page} written from ${file}`);
    return true;
  },
};

const outOf = (values: Arguments['values']) => (typeof values.out === 'string' ? values.out : undefined);

function saveIfChanged(file: string, notebook: Notebook, change: (notebook: Notebook) => void): void {
  const before = JSON.stringify(notebook);
  change(notebook);
  if (JSON.stringify(notebook) !== before) writeNotebook(file, notebook);
}

const command: Command = {
  name: 'notebook',
  summary: 'Runs, checks, strips, pairs or exports notebooks, without Python.',
  usage: 'run|check|strip|pair|html FILE…',
  options: {
    out: { type: 'string', help: 'where the result goes (one FILE only)' },
    parameter: { type: 'string', multiple: true, short: 'p', help: 'run: key=value for the cell tagged "parameters"; repeatable' },
    timeout: { type: 'string', help: 'run: seconds a cell may take' },
    resume: { type: 'boolean', help: 'run: go on at the first unfinished or edited cell' },
    'keep-going': { type: 'boolean', help: 'run: run the cells after a failed one too' },
  },
  async run(args, signal) {
    const [name, ...files] = args.positionals;
    const verb = verbs[name ?? ''];
    if (!verb) throw new UsageError(`notebook: expected ${Object.keys(verbs).join(', ')}, found "${name ?? ''}".`);
    if (files.length === 0) throw new UsageError(`notebook ${name}: which FILE?`);
    if (args.values.out !== undefined && files.length > 1) throw new UsageError('--out names one result, so it takes one FILE.');
    let good = true;
    for (const file of files) {
      try {
        good = (await verb(file, args, signal)) && good;
      } catch (error) {
        if (!(error instanceof BadNotebook)) throw error;
        throw new UsageError(error.message);
      }
      if (signal.aborted) break;
    }
    return good ? 0 : 1;
  },
};

export default command;
