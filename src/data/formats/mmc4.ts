import { writeFileSync } from 'node:fs';
import type { ImageInfo, ImageRef, InstructInterleaved, InterleavedDocument } from '../types.js';
import { Checker, Intake, type ResolvePicture } from './intake.js';
import { lines } from './text-files.js';

/**
 * MMC4: one document a line, `{ text_list, image_info: [{ image_name, matched_text_index, matched_sim, … }], similarity_matrix?, url? }`; plain,
 * `.gz` or `.zip`. Many pictures of the web could not be had: those that `resolve` does not find are left out and counted (`intake.missing`), the text
 * is kept.
 */
export async function* readMmc4(file: string, resolve: ResolvePicture, intake = new Intake()): AsyncGenerator<InterleavedDocument> {
  for await (const { text, line } of intake.whole(lines(file))) {
    const check = new Checker({ file, line });
    const record = intake.take(() => parseDocument(check, check.object(check.json(text), 'document'), resolve, line, intake));
    if (record) yield record;
  }
  intake.finish();
}

/** InstructMMC4: the same with the `instruction` that asks for the document. */
export async function* readInstructMmc4(file: string, resolve: ResolvePicture, intake = new Intake()): AsyncGenerator<InstructInterleaved> {
  for await (const { text, line } of intake.whole(lines(file))) {
    const check = new Checker({ file, line });
    const record = intake.take(() => {
      const value = check.object(check.json(text), 'document');
      return { ...parseDocument(check, value, resolve, line, intake), instruction: check.text(value.instruction, 'instruction') };
    });
    if (record) yield record;
  }
  intake.finish();
}

function parseDocument(check: Checker, value: Record<string, unknown>, resolve: ResolvePicture, line: number, intake: Intake): InterleavedDocument {
  const text_list = check.list(value.text_list, 'text_list').map((text, i) => check.text(text, `text_list[${i}]`));
  const keptRows: number[] = [];
  const image_info = check.list(value.image_info, 'image_info').flatMap((item, i): ImageInfo[] => {
    const what = `image_info[${i}]`;
    const info = check.object(item, what);
    const name = check.text(info.image_name, `${what}.image_name`);
    const matched_text_index = check.index(info.matched_text_index, `${what}.matched_text_index`, text_list.length);
    const matched_sim = info.matched_sim === undefined ? undefined : check.number(info.matched_sim, `${what}.matched_sim`);
    if (matched_sim !== undefined && Math.abs(matched_sim) > 1.001) check.fail(`${what}.matched_sim: expected a cosine, found ${matched_sim}`);
    const image_name = resolve(name);
    if (image_name === undefined) {
      intake.miss(`${check.place.file}:${line}: ${name}`);
      return [];
    }
    keptRows.push(i);
    return [{ image_name, matched_text_index, ...(matched_sim === undefined ? {} : { matched_sim }), ...(typeof info.raw_url === 'string' ? { raw_url: info.raw_url } : {}) }];
  });
  const record: InterleavedDocument = { id: typeof value.id === 'string' ? value.id : String(line), text_list, image_info };
  if (typeof value.url === 'string') record.url = value.url;
  if (value.similarity_matrix !== undefined) {
    const numImages = (value.image_info as unknown[]).length;
    const rows = check.list(value.similarity_matrix, 'similarity_matrix');
    if (rows.length !== numImages) check.fail(`similarity_matrix: expected ${numImages} rows, one for each picture, found ${rows.length}`);
    const matrix = rows.map((row, i) => {
      const numbers = check.list(row, `similarity_matrix[${i}]`).map((each, j) => check.number(each, `similarity_matrix[${i}][${j}]`));
      if (numbers.length !== text_list.length) check.fail(`similarity_matrix[${i}]: expected ${text_list.length} values, one for each sentence, found ${numbers.length}`);
      return numbers;
    });
    record.similarity_matrix = keptRows.map((i) => matrix[i]);
  }
  return record;
}

/** Writes documents, with an `instruction` where they have one. `name` gives the file name of a picture. */
export function writeMmc4(file: string, documents: readonly (InterleavedDocument | InstructInterleaved)[], name: (ref: ImageRef) => string): void {
  const rows = documents.map(({ id, text_list, image_info, url, similarity_matrix, ...rest }) =>
    JSON.stringify({
      id,
      ...('instruction' in rest ? { instruction: rest.instruction } : {}),
      ...(url === undefined ? {} : { url }),
      text_list,
      image_info: image_info.map(({ image_name, ...info }) => ({ image_name: name(image_name), ...info })),
      ...(similarity_matrix ? { similarity_matrix } : {}),
    }),
  );
  writeFileSync(file, rows.map((row) => `${row}\n`).join(''));
}

/** Keeps the pictures with `matched_sim` of at least `threshold` (the paper: 0.25), and the documents that keep one. */
export function filterBySimilarity(document: InterleavedDocument, threshold: number): InterleavedDocument | undefined {
  const { similarity_matrix, ...rest } = document;
  const kept = document.image_info.map(({ matched_sim }, i) => ({ i, keep: matched_sim !== undefined && matched_sim >= threshold })).filter(({ keep }) => keep).map(({ i }) => i);
  if (kept.length === 0) return undefined;
  return { ...rest, image_info: kept.map((i) => document.image_info[i]), ...(similarity_matrix ? { similarity_matrix: kept.map((i) => similarity_matrix[i]) } : {}) };
}
