import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { declaredTables } from '../lab/experiments/index.js';
import { paperTableNames } from '../lab/paper.js';
import { paperComparison } from '../lab/paper-tables.js';
import { readRecords } from '../lab/records.js';
import { toHtml, toLatex, toMarkdown } from '../lab/tables.js';
import { UsageError, type Command } from './command.js';

const formats = { markdown: toMarkdown, latex: toLatex, html: toHtml } as const;

const command: Command = {
  name: 'table',
  summary: 'A table of the paper, with this project\'s numbers in a column of their own where a sweep was run.',
  usage: 'NAME|all|list [--records FILE] [--format markdown|latex|html] [--out FILE]',
  options: {
    records: { type: 'string', multiple: true, help: 'results.jsonl of a sweep (repeatable)' },
    format: { type: 'string', help: 'markdown (default), latex or html' },
    out: { type: 'string', help: 'file to write instead of the terminal' },
  },
  async run({ positionals: [name, ...more], values }) {
    const names = paperTableNames();
    if (!name || more.length) throw new UsageError(`table takes one NAME: all, list, or one of ${names.join(', ')}.`);
    if (name === 'list') return void console.log(names.join('\n'));
    // `table3` is enough where only one table begins so.
    const chosen = name === 'all' ? names : names.filter((each) => each === name || each.startsWith(`${name}_`));
    if (chosen.length === 0) throw new UsageError(`No table "${name}". There are ${names.join(', ')}.`);
    const format = String(values.format ?? 'markdown');
    if (!Object.hasOwn(formats, format)) throw new UsageError(`--format: expected ${Object.keys(formats).join(', ')}, found "${format}".`);
    const records = ((values.records as string[] | undefined) ?? []).flatMap(readRecords);
    const text = `${chosen.map((each) => formats[format as keyof typeof formats](paperComparison(each, declaredTables, records))).join('\n\n')}\n`;
    if (typeof values.out !== 'string') return void process.stdout.write(text);
    mkdirSync(dirname(values.out), { recursive: true });
    writeFileSync(values.out, text);
    console.log(values.out);
  },
};

export default command;
