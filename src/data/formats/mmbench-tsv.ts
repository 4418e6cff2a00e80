import { createReadStream, writeFileSync } from 'node:fs';
import papaparse from 'papaparse';
import { rotations, rotationStep } from '../benchmarks.js';
import type { ImageRef, Question } from '../types.js';
import { Checker, Intake } from './intake.js';

const columns = ['index', 'question', 'hint', 'A', 'B', 'C', 'D', 'answer', 'category', 'image', 'source', 'l2-category', 'comment', 'split'] as const;

/**
 * MMBench's TSV: one question a row, the picture as base64, or as the index of the row that has it. Rotated copies are rows of their own with
 * index + k · 10⁶. The Chinese release spells `L2-category`. Rows are read one after the other; a wrong row is named by its index and number.
 */
export async function readMmbenchTsv(file: string, intake = new Intake()): Promise<Question[]> {
  const rows = await parseRows(file);
  const images = new Map(rows.map(({ fields }) => [Number(fields.index), fields.image]));
  const seen = new Set<number>();
  const questions = rows.flatMap(({ fields, row }) => {
    const question = intake.take(() => parseRow(new Checker({ file, member: `row ${row}, index ${fields.index}` }), fields, images, seen));
    return question ? [question] : [];
  });
  intake.finish();
  return questions;
}

/** A cell can be a megabyte of base64, and hold line breaks within quotes. */
function parseRows(file: string): Promise<{ fields: Record<string, string>; row: number }[]> {
  return new Promise((resolve, reject) => {
    const rows: { fields: Record<string, string>; row: number }[] = [];
    papaparse.parse<Record<string, string>>(createReadStream(file, 'utf8') as NodeJS.ReadableStream, {
      header: true,
      delimiter: '\t',
      skipEmptyLines: 'greedy',
      step: ({ data, errors }, parser) => {
        // Missing last columns are seen when they are looked for.
        const broken = errors.find(({ code }) => code !== 'TooFewFields');
        if (broken) {
          parser.abort();
          reject(new Error(`${file}, row ${rows.length + 1}: ${broken.message}.`));
        }
        rows.push({ fields: data, row: rows.length + 1 });
      },
      complete: () => resolve(rows),
      error: reject,
    });
  });
}

function parseRow(check: Checker, fields: Record<string, string>, images: Map<number, string>, seen: Set<number>): Question {
  const index = Number(fields.index);
  if (!fields.index || !Number.isInteger(index) || index < 0) check.fail(`expected a whole number as index, found ${JSON.stringify(fields.index)}`);
  if (seen.has(index)) check.fail(`index ${index} is given twice`);
  seen.add(index);
  const given = 'ABCD'.split('').map((letter) => fields[letter]?.trim() ?? '');
  const numOptions = given.findIndex((text) => text === '' || text === 'nan');
  const options = numOptions < 0 ? given : given.slice(0, numOptions);
  if (options.length < 2) check.fail(`expected at least the options A and B, found ${options.length}`);
  const answer = fields.answer?.trim() ?? '';
  // The test split of the official files has no answers.
  if (answer !== '' && ('ABCD'.indexOf(answer) < 0 || 'ABCD'.indexOf(answer) >= options.length)) check.fail(`answer "${answer}" is none of the ${options.length} options`);
  if (!fields.question?.trim()) check.fail('the question is empty');
  const l2 = fields['l2-category'] ?? fields['L2-category'];
  return {
    index,
    image: imageOf(check, fields.image, images),
    question: fields.question.trim(),
    ...(fields.hint && fields.hint !== 'nan' ? { hint: fields.hint } : {}),
    options,
    answer,
    category: fields.category ?? '',
    ...(l2 ? { 'l2-category': l2 } : {}),
    ...(fields.source ? { source: fields.source } : {}),
    ...(fields.split ? { split: fields.split } : {}),
  };
}

function imageOf(check: Checker, cell: string | undefined, images: Map<number, string>): ImageRef {
  if (!cell) return check.fail('the picture is missing');
  if (/^\d{1,9}$/.test(cell)) {
    const other = images.get(Number(cell));
    return other && !/^\d{1,9}$/.test(other) ? imageOf(check, other, images) : check.fail(`the picture is that of row ${cell}, which has none`);
  }
  if (!/^[A-Za-z0-9+/\s]+=*\s*$/.test(cell)) check.fail('the picture is not base64');
  return `data:image/*;base64,${cell.trim()}`;
}

/** Writes questions, by default with their rotated copies. `picture` gives the bytes of a PNG or JPEG. Copies name the row that has the picture. */
export async function writeMmbenchTsv(
  file: string,
  questions: readonly Question[],
  picture: (ref: ImageRef) => Promise<Uint8Array>,
  { withRotations = true } = {},
): Promise<void> {
  const rows: string[][] = [];
  for (const question of questions) {
    const image = Buffer.from(await picture(question.image)).toString('base64');
    for (const copy of withRotations ? rotations(question) : [question]) {
      const [a, b, c = '', d = ''] = copy.options ?? [];
      const fields: Record<(typeof columns)[number], string> = {
        index: String(copy.index), question: copy.question, hint: copy.hint ?? '', A: a, B: b, C: c, D: d, answer: copy.answer,
        category: copy.category, 'l2-category': copy['l2-category'] ?? '', source: copy.source ?? '', comment: '', split: copy.split ?? '',
        image: copy.index < rotationStep ? image : String(question.index),
      };
      rows.push(columns.map((column) => fields[column]));
    }
  }
  writeFileSync(file, papaparse.unparse({ fields: [...columns], data: rows }, { delimiter: '\t', newline: '\n' }) + '\n');
}
