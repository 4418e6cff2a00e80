import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { Archive } from './archive.js';
import { MalformedRecord } from './intake.js';

const block = 512;

/**
 * Opens a tar for reading single files. Only the headers are read at first, so that shards of any size can be opened. Understands ustar, and the
 * long names of GNU and PAX. An archive that is damaged or ends inside a file is a `MalformedRecord` that names the byte: it is thrown, or given to `onDamage`,
 * and the files before it can be read.
 */
export function openTar(file: string, onDamage?: (problem: MalformedRecord) => void): Archive {
  const descriptor = openSync(file, 'r');
  try {
    const files = new Map<string, Entry>();
    try {
      scan(file, descriptor, files);
    } catch (error) {
      if (!onDamage || !(error instanceof MalformedRecord)) throw error;
      onDamage(error);
    }
    return {
      names: [...files.keys()],
      read(name) {
        const found = files.get(name);
        if (!found) throw new Error(`${file} has no file "${name}".`);
        return readAt(descriptor, found.offset, found.size);
      },
      close: () => closeSync(descriptor),
    };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function readAt(descriptor: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const count = readSync(descriptor, bytes, done, length - done, position + done);
    if (count === 0) throw new Error(`Expected ${length} bytes at ${position}, found ${done}.`);
    done += count;
  }
  return bytes;
}

interface Entry {
  offset: number;
  size: number;
}

/** Fills `files` with what lies in the archive. */
function scan(file: string, descriptor: number, files: Map<string, Entry>): void {
  const { size: fileSize } = fstatSync(descriptor);
  let longName: string | undefined;
  let position = 0;
  let hasEnd = false;
  while (position + block <= fileSize) {
    const header = readAt(descriptor, position, block);
    if (header.every((byte) => byte === 0)) {
      hasEnd = true;
      break;
    }
    checkHeader(file, header, position);
    const size = sizeOf(header);
    const offset = position + block;
    const padded = Math.ceil(size / block) * block;
    if (offset + size > fileSize) throw damaged(file, position, `the archive is cut off: it has ${fileSize} bytes, and the file that begins here needs ${offset + size}`);
    const kind = String.fromCharCode(header[156]);
    if (kind === 'L') longName = text(readAt(descriptor, offset, size));
    else if (kind === 'x') longName = paxPath(readAt(descriptor, offset, size).toString('utf8')) ?? longName;
    else {
      const prefix = header.toString('latin1', 257, 262) === 'ustar' ? text(header.subarray(345, 500)) : '';
      const name = longName ?? (prefix ? `${prefix}/` : '') + text(header.subarray(0, 100));
      if (kind === '0' || kind === '\0') files.set(name.replace(/^\.\//, ''), { offset, size });
      longName = undefined;
    }
    position = offset + padded;
  }
  if (!hasEnd) throw damaged(file, position, 'the archive is cut off: the two empty blocks that end a tar are missing');
}

const damaged = (file: string, position: number, reason: string) => new MalformedRecord({ file, member: `byte ${position}` }, reason);

function checkHeader(file: string, header: Buffer, position: number): void {
  const stored = parseInt(text(header.subarray(148, 156)).trim(), 8);
  let sum = 8 * 32;
  header.forEach((byte, i) => {
    if (i < 148 || i >= 156) sum += byte;
  });
  if (stored !== sum) throw damaged(file, position, `not a tar, or damaged: the header here has checksum ${stored}, expected ${sum}`);
}

/** Octal digits, or base 256 for sizes past 8 GiB. */
function sizeOf(header: Buffer): number {
  if (header[124] & 0x80) return Number(header.readBigUInt64BE(128));
  return parseInt(text(header.subarray(124, 136)).trim() || '0', 8);
}

const text = (bytes: Buffer): string => {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
};

/** The path of a PAX header: records "LENGTH KEY=VALUE\n". */
const paxPath = (records: string): string | undefined => /(?:^|\n)\d+ path=([^\n]*)\n/.exec(records)?.[1];
