import { writeFileSync } from 'node:fs';
import type { Conversation, ImageRef, Turn } from '../types.js';
import { Checker, Intake, type ResolvePicture } from './intake.js';
import { jsonElements } from './text-files.js';

/**
 * LLaVA's instruction files: a JSON list of `{ id, image?, conversations: [{ from, value }] }`. `image` is a file name; here it may also be a list,
 * because a conversation can hold several pictures, some of them (`<dream>`) drawn by the assistant.
 */
export async function* readLlava(file: string, resolve: ResolvePicture, intake = new Intake()): AsyncGenerator<Conversation> {
  for await (const { text, line } of intake.whole(jsonElements(file))) {
    const record = intake.take(() => parse(new Checker({ file, line }), text, resolve));
    if (record) yield record;
  }
  intake.finish();
}

function parse(check: Checker, text: string, resolve: ResolvePicture): Conversation {
  const record = check.object(check.json(text), 'record');
  const id = typeof record.id === 'number' ? String(record.id) : check.text(record.id, 'id');
  const names = record.image === undefined ? [] : Array.isArray(record.image) ? record.image : [record.image];
  const images = names.map((name, i) => resolve(check.text(name, `image ${i}`)) ?? check.fail(`picture ${JSON.stringify(name)} is missing`));
  const conversations = check.list(record.conversations, 'conversations').map((turn, i): Turn => {
    const { from, value } = check.object(turn, `turn ${i}`);
    if (from !== 'human' && from !== 'gpt') check.fail(`turn ${i}: expected from "human" or "gpt", found ${JSON.stringify(from)}`);
    return { from: from as Turn['from'], value: check.text(value, `value of turn ${i}`) };
  });
  if (conversations.length === 0) check.fail('the conversation has no turns');
  conversations.forEach(({ from }, i) => {
    const expected = (i % 2 === 0) === (conversations[0].from === 'human') ? 'human' : 'gpt';
    if (from !== expected) check.fail(`turn ${i}: expected ${expected}, found ${from}: turns must alternate`);
  });
  // The assistant may speak first; from then on each question needs its answer.
  if (conversations.at(-1)!.from === 'human') check.fail('the last question has no answer');
  const marks = conversations.reduce((count, { value }) => count + (value.match(/<image>|<dream>/g)?.length ?? 0), 0);
  if (marks !== images.length) check.fail(`${marks} place-holders <image> and <dream>, but ${images.length} pictures`);
  return { id, images, conversations };
}

/** Writes conversations as LLaVA does; `name` gives the file name of a picture. One record a line, within one JSON list. */
export function writeLlava(file: string, records: readonly Conversation[], name: (ref: ImageRef) => string): void {
  const rows = records.map(({ id, images, conversations }) => {
    const names = images.map(name);
    return JSON.stringify({ id, ...(names.length > 0 ? { image: names.length === 1 ? names[0] : names } : {}), conversations });
  });
  writeFileSync(file, `[\n${rows.join(',\n')}\n]\n`);
}
