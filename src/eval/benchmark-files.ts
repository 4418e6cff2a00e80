import type { CaptionPair } from './captions.js';
import { rotations, type MmbenchRow } from './mmbench.js';
import type { MmvetItem } from './mmvet.js';
import { captionTokens } from './ptb.js';
import { checkSame, indexField, optionalText, readJson, readRows, textField, uniqueBy, type FileRow } from './records.js';
import type { VqaItem } from './vqa.js';

/** Readers of the benchmarks' own formats. Each refuses what is broken or does not match, naming the row. */

const letters = [...'ABCDEFGH'];

/** Questions of an MMBench TSV: columns index, question, hint, A to D, answer, category, l2-category (or L2-category), split, image. */
export function readMmbench(file: string): MmbenchRow[] {
  return readRows(file).map((row) => {
    const options = Object.fromEntries(letters.flatMap((letter) => {
      const text = optionalText(row, letter);
      return text === undefined || text === '' ? [] : [[letter, text]];
    }));
    const optional = (names: string | string[]) => optionalText(row, names) || undefined;
    return {
      index: indexField(row, 'index'), question: textField(row, 'question', true), hint: optional('hint'), options, answer: textField(row, 'answer').trim(),
      category: optional('category'), l2Category: optional(['l2-category', 'L2-category']), split: optional('split'), image: optional('image'),
    };
  });
}

/** Every rotation of every question: rows that a file lacks are made from its first ones. */
export const withRotations = (rows: readonly MmbenchRow[]): MmbenchRow[] =>
  rows.some(({ index }) => index >= 1e6) ? [...rows] : rows.flatMap(rotations);

/** Columns index and prediction. An empty prediction is an answer that says nothing. */
export function readMmbenchPredictions(file: string): Map<number, string> {
  const found = uniqueBy(readRows(file), (row) => String(indexField(row, 'index')), (row) => textField(row, ['prediction', 'answer'], true));
  return new Map([...found].map(([index, prediction]) => [Number(index), prediction]));
}

/** How captions become tokens: `ptb` as the COCO evaluation, `space` for text that is tokenised already. */
export const tokenizers = { ptb: captionTokens, space: (text: string) => text.split(' ').filter(Boolean) } as const;

/** Captions by image: `{ annotations: [{ image_id, caption }] }`, `[{ image_id, caption }]` or `{ id: [captions] }`. */
export function readCaptions(file: string): Map<string, string[]> {
  const content = readJson(file);
  const captions = new Map<string, string[]>();
  const add = (id: string, caption: string) => captions.set(id, [...(captions.get(id) ?? []), caption]);
  const annotations = Array.isArray(content) ? content : (content as { annotations?: unknown } | null)?.annotations;
  if (Array.isArray(annotations)) {
    annotations.forEach((fields: unknown, i) => {
      const row: FileRow = { where: `${file}, entry ${i}`, fields: (fields ?? {}) as Record<string, unknown> };
      add(textField(row, 'image_id'), textField(row, 'caption', true));
    });
  } else if (typeof content === 'object' && content !== null) {
    for (const [id, list] of Object.entries(content)) {
      for (const caption of [list].flat()) {
        if (typeof caption !== 'string') throw new Error(`${file}: expected captions for "${id}", found ${JSON.stringify(caption)?.slice(0, 60)}.`);
        add(id, caption);
      }
    }
  }
  if (captions.size === 0) throw new Error(`${file}: found no captions. Expected COCO's { annotations } or a list of { image_id, caption }.`);
  return captions;
}

/** Candidates with their references. `subset`: only the images that have a candidate. */
export function captionPairs(referencesFile: string, candidatesFile: string, tokenizer: keyof typeof tokenizers, subset = false): CaptionPair[] {
  const [references, candidates] = [readCaptions(referencesFile), readCaptions(candidatesFile)];
  for (const [id, list] of candidates) if (list.length > 1) throw new Error(`${candidatesFile}: image "${id}" has ${list.length} candidates; expected one.`);
  checkSame(subset ? [...references.keys()].filter((id) => candidates.has(id)) : references.keys(), candidates, 'images', candidatesFile);
  const tokens = tokenizers[tokenizer];
  return [...candidates].map(([id, [candidate]]) => ({ id, candidate: tokens(candidate), references: references.get(id)!.map(tokens) }));
}

/** VQA annotations `{ annotations: [{ question_id, answers: [{ answer }] }] }` (or a list, or answers as texts) with results `[{ question_id, answer }]`. */
export function readVqa(annotationsFile: string, predictionsFile: string): VqaItem[] {
  const content = annotationsFile.endsWith('.json') ? readJson(annotationsFile) : undefined;
  const list = (content as { annotations?: unknown } | undefined)?.annotations;
  const rows = Array.isArray(list) ? list.map((fields: Record<string, unknown>, i): FileRow => ({ where: `${annotationsFile}, annotation ${i}`, fields })) : readRows(annotationsFile);
  const predictions = uniqueBy(readRows(predictionsFile), (row) => textField(row, 'question_id'), (row) => textField(row, ['answer', 'prediction', 'text'], true));
  const items = uniqueBy(rows, (row) => textField(row, 'question_id'), (row) => {
    const answers = row.fields.answers;
    if (!Array.isArray(answers)) throw new Error(`${row.where}: expected a list of answers, found ${JSON.stringify(answers)?.slice(0, 60)}.`);
    return {
      answers: answers.map((answer: unknown) => {
        const text = typeof answer === 'string' ? answer : (answer as { answer?: unknown } | null)?.answer;
        if (typeof text !== 'string') throw new Error(`${row.where}: expected an answer in words, found ${JSON.stringify(answer)?.slice(0, 60)}.`);
        return text;
      }),
      questionType: optionalText(row, 'question_type'), answerType: optionalText(row, 'answer_type'),
    };
  });
  checkSame(items.keys(), predictions, 'question', predictionsFile);
  return [...items].map(([id, item]) => ({ id, ...item, prediction: predictions.get(id)! }));
}

export interface PopeItem {
  readonly id: string;
  readonly label: 'yes' | 'no';
  readonly answer: string;
  /** `random`, `popular` or `adversarial`, where the file says it. */
  readonly split?: string;
}

/** POPE's questions (question_id, label) with answers by question_id, or line by line where neither file has ids. */
export function readPope(questionsFile: string, predictionsFile: string): PopeItem[] {
  const [questions, predictions] = [readRows(questionsFile), readRows(predictionsFile)];
  const byLine = !predictions.some(({ fields }) => fields.question_id !== undefined);
  if (byLine && questions.length !== predictions.length) throw new Error(`${predictionsFile} has ${predictions.length} answers without question_id for ${questions.length} questions.`);
  const keyed = (rows: FileRow[]) => (byLine ? new Map(rows.map((row, i) => [String(i), row])) : uniqueBy(rows, (row) => textField(row, 'question_id'), (row) => row));
  const answers = keyed(predictions);
  const asked = keyed(questions);
  checkSame(asked.keys(), answers, 'question', predictionsFile);
  return [...asked].map(([id, row]) => {
    const label = textField(row, 'label').trim().toLowerCase();
    if (label !== 'yes' && label !== 'no') throw new Error(`${row.where}: expected the label yes or no, found "${label}".`);
    return { id, label, answer: textField(answers.get(id)!, ['answer', 'prediction', 'text'], true), split: optionalText(row, ['split', 'category']) };
  });
}

/** MM-Vet: `{ id: { question, answer, capability } }` with results `{ id: text }`. */
export function readMmvet(questionsFile: string, predictionsFile: string): MmvetItem[] {
  const questions = readJson(questionsFile) as Record<string, Record<string, unknown>>;
  const predictions = new Map(Object.entries(readJson(predictionsFile) as Record<string, unknown>));
  checkSame(Object.keys(questions), predictions, 'question', predictionsFile);
  return Object.entries(questions).map(([id, fields]) => {
    const row: FileRow = { where: `${questionsFile}, "${id}"`, fields };
    const prediction = predictions.get(id);
    if (typeof prediction !== 'string') throw new Error(`${predictionsFile}: expected text for "${id}", found ${JSON.stringify(prediction)?.slice(0, 60)}.`);
    const capabilities = [fields.capability ?? fields.capabilities ?? []].flat();
    return { id, question: textField(row, 'question'), answer: textField(row, 'answer'), prediction, capabilities: capabilities.map(String) };
  });
}
