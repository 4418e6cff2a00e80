import { createReadStream, existsSync } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { createGunzip } from 'node:zlib';
import { MalformedRecord } from './intake.js';
import { openZip } from './zip.js';

export interface Piece {
  text: string;
  /** Line on which it begins, from 1. */
  line: number;
}

/** The bytes of a text file: as it is, gunzipped (`.gz`), or the only entry of a zip (`.zip`, as MMC4 comes). */
function openText(file: string): Readable {
  if (!existsSync(file)) throw new Error(`${file} does not exist.`);
  // `pipeline` hands on errors of the file as well as of what unpacks it; whoever reads hears of them, so its own callback need not.
  if (file.endsWith('.gz')) return pipeline(createReadStream(file), createGunzip(), () => {});
  if (!file.endsWith('.zip')) return createReadStream(file);
  const zip = openZip(file);
  try {
    if (zip.names.length !== 1) throw new Error(`${file}: expected a zip of one text file, found ${zip.names.length} entries.`);
    return Readable.from([Buffer.from(zip.read(zip.names[0]))]);
  } finally {
    zip.close();
  }
}

/** The text of a file, piece by piece. Where it cannot be read on (an archive that was cut off) the error names the line. */
async function* textOf(file: string): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let line = 1;
  try {
    for await (const bytes of openText(file) as AsyncIterable<Buffer>) {
      const text = decoder.write(bytes);
      yield text;
      for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) line++;
    }
  } catch (error) {
    if (error instanceof MalformedRecord || !(error as NodeJS.ErrnoException).code?.startsWith('Z_')) throw error;
    throw new MalformedRecord({ file, line }, `cannot be unpacked from here on: ${(error as Error).message}`);
  }
  yield decoder.end();
}

/** The lines of a file that are not blank, one at a time. */
export async function* lines(file: string): AsyncGenerator<Piece> {
  let line = 0;
  let open = '';
  const finished = (text: string): Piece | undefined => {
    line++;
    const clean = (line === 1 ? text.replace(/^\uFEFF/, '') : text).replace(/\r$/, '');
    return clean.trim() === '' ? undefined : { text: clean, line };
  };
  for await (const text of textOf(file)) {
    const parts = (open + text).split('\n');
    open = parts.pop()!;
    for (const part of parts) {
      const piece = finished(part);
      if (piece) yield piece;
    }
  }
  const last = finished(open);
  if (last) yield last;
}

/**
 * The elements of a JSON list as text, one at a time, so that a list of any size can be read and one broken element does not hide the others.
 * Only brackets and strings are looked at; the elements are parsed by the caller.
 */
export async function* jsonElements(file: string): AsyncGenerator<Piece> {
  let [line, start, depth] = [1, 1, 0];
  let [inString, isEscaped, hasOpened, hasClosed] = [false, false, false, false];
  let element = '';
  const finished = (): Piece | undefined => {
    const text = element.trim();
    element = '';
    return text === '' ? undefined : { text, line: start };
  };
  for await (const chunk of textOf(file)) {
    for (const character of chunk) {
      if (character === '\n') line++;
      if (!hasOpened) {
        if (character === '[') hasOpened = true;
        else if (!/[\s\uFEFF]/.test(character)) throw new MalformedRecord({ file, line }, `expected a JSON list, found "${character}"`);
        continue;
      }
      if (hasClosed) {
        if (!/\s/.test(character)) throw new MalformedRecord({ file, line }, `expected the end of the file after the list, found "${character}"`);
        continue;
      }
      if (inString) {
        if (isEscaped) isEscaped = false;
        else if (character === '\\') isEscaped = true;
        else if (character === '"') inString = false;
      } else if (character === '"') inString = true;
      else if (character === '{' || character === '[') depth++;
      else if (character === '}' || (character === ']' && depth > 0)) depth--;
      else if (depth === 0 && (character === ',' || character === ']')) {
        const piece = finished();
        if (piece) yield piece;
        hasClosed = character === ']';
        continue;
      }
      if (element === '' && /\s/.test(character)) continue;
      if (element === '') start = line;
      element += character;
    }
  }
  if (!hasClosed) throw new MalformedRecord({ file, line }, hasOpened ? 'the file ends inside the list: it was cut off' : 'expected a JSON list, found an empty file');
}
