import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { Archive } from './archive.js';

const block = 512;

/**
 * Opens a tar for reading single files. Only the headers are read at first, so that shards of any size can be opened. Understands ustar, and the
 * long names of GNU and PAX. An archive that ends inside a file is an error.
 */
export function openTar(file: string): Archive {
  const descriptor = openSync(file, 'r');
  try {
    const files = scan(file, descriptor);
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

function scan(file: string, descriptor: number): Map<string, { offset: number; size: number }> {
  const { size: fileSize } = fstatSync(descriptor);
  const files = new Map<string, { offset: number; size: number }>();
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
    if (offset + size > fileSize) throw new Error(`${file} is cut off: ${fileSize} bytes, but a file at ${position} needs ${offset + size}.`);
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
  if (!hasEnd) throw new Error(`${file} is cut off: the two empty blocks that end a tar are missing.`);
  return files;
}

function checkHeader(file: string, header: Buffer, position: number): void {
  const stored = parseInt(text(header.subarray(148, 156)).trim(), 8);
  let sum = 8 * 32;
  header.forEach((byte, i) => {
    if (i < 148 || i >= 156) sum += byte;
  });
  if (stored !== sum) throw new Error(`${file} is not a tar, or it is damaged: the header at byte ${position} has checksum ${stored}, expected ${sum}.`);
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
