import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { TensorSource } from './safetensors.js';
import { lazySource, readBytes, unpickle } from './torch-pickle.js';

/** Reads checkpoints written by `torch.save` since PyTorch 1.6: a zip of stored entries around a pickle. Tensors are read one at a time. */
export function openTorchCheckpoint(file: string): TensorSource {
  const fd = openSync(file, 'r');
  try {
    const entries = readZipDirectory(fd, file);
    const pickle = [...entries.keys()].find((name) => name === 'data.pkl' || name.endsWith('/data.pkl'));
    if (!pickle) throw new Error(`${file} holds no data.pkl, so torch.save did not write it. Entries: ${[...entries.keys()].slice(0, 3).join(', ')}.`);
    const root = pickle.slice(0, -'data.pkl'.length);
    const byteOrder = entries.get(`${root}byteorder`);
    if (byteOrder && Buffer.from(readEntry(fd, file, byteOrder)).toString() !== 'little') throw new Error(`${file} is big-endian. Save it again on a little-endian machine.`);

    const { value } = unpickle(readEntry(fd, file, entries.get(pickle)!), file);
    return lazySource(fd, file, value, (key) => {
      const entry = entries.get(`${root}data/${key}`);
      return entry && { start: dataStart(fd, file, entry), size: entry.size };
    });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Whether a file begins as a zip does. */
export function isZip(file: string): boolean {
  const fd = openSync(file, 'r');
  try {
    const start = Buffer.alloc(4);
    readSync(fd, start, 0, 4, 0);
    return start.readUInt32LE(0) === 0x04034b50;
  } finally {
    closeSync(fd);
  }
}

interface ZipEntry {
  /** Position of the local header, and size of the data. */
  header: number;
  size: number;
}

/** The entries of a zip file, from its central directory (APPNOTE.TXT 4.3; zip64 where the file is larger than 4 GB). */
function readZipDirectory(fd: number, file: string): Map<string, ZipEntry> {
  const fileSize = fstatSync(fd).size;
  const refuse = (why: string): never => {
    throw new Error(`${file} is not a readable torch checkpoint: ${why}.`);
  };
  const tailSize = Math.min(fileSize, 65557);
  const tail = readBytes(fd, file, fileSize - tailSize, tailSize);
  const end = tail.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  if (end < 0 || end + 22 > tail.length) return refuse('it has no zip directory');
  let count = tail.readUInt16LE(end + 10);
  let size = tail.readUInt32LE(end + 12);
  let offset = tail.readUInt32LE(end + 16);
  if (count === 0xffff || size === 0xffffffff || offset === 0xffffffff) {
    const locator = end - 20;
    if (locator < 0 || tail.readUInt32LE(locator) !== 0x07064b50) return refuse('its zip64 directory is missing');
    const record = readBytes(fd, file, Number(tail.readBigUInt64LE(locator + 8)), 56);
    if (record.readUInt32LE(0) !== 0x06064b50) return refuse('its zip64 directory is damaged');
    count = Number(record.readBigUInt64LE(32));
    size = Number(record.readBigUInt64LE(40));
    offset = Number(record.readBigUInt64LE(48));
  }
  if (offset + size > fileSize) return refuse('its zip directory lies beyond its end');

  const directory = readBytes(fd, file, offset, size);
  const entries = new Map<string, ZipEntry>();
  for (let at = 0, i = 0; i < count; i++) {
    if (at + 46 > size || directory.readUInt32LE(at) !== 0x02014b50) return refuse('its zip directory is damaged');
    const method = directory.readUInt16LE(at + 10);
    let compressed = directory.readUInt32LE(at + 20);
    let plain = directory.readUInt32LE(at + 24);
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => directory.readUInt16LE(at + field));
    let header = directory.readUInt32LE(at + 42);
    const name = directory.toString('utf8', at + 46, at + 46 + nameLength);
    for (let extra = at + 46 + nameLength, stop = extra + extraLength; extra + 4 <= stop; ) {
      const [id, length] = [directory.readUInt16LE(extra), directory.readUInt16LE(extra + 2)];
      if (id === 1) {
        let field = extra + 4;
        const next = () => Number(directory.readBigUInt64LE((field += 8) - 8));
        if (plain === 0xffffffff) plain = next();
        if (compressed === 0xffffffff) compressed = next();
        if (header === 0xffffffff) header = next();
      }
      extra += 4 + length;
    }
    if (method !== 0 || compressed !== plain) return refuse(`entry "${name}" is compressed (method ${method}); torch.save stores its entries`);
    if (header + plain > fileSize) return refuse(`entry "${name}" lies beyond its end`);
    entries.set(name, { header, size: plain });
    at += 46 + nameLength + extraLength + commentLength;
  }
  return entries;
}

/** Data of an entry start behind its local header, whose name and extra field may differ in length from the directory's. */
function dataStart(fd: number, file: string, entry: ZipEntry): number {
  const local = readBytes(fd, file, entry.header, 30);
  if (local.readUInt32LE(0) !== 0x04034b50) throw new Error(`${file} has a damaged entry at byte ${entry.header}.`);
  return entry.header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
}

const readEntry = (fd: number, file: string, entry: ZipEntry): Buffer => readBytes(fd, file, dataStart(fd, file, entry), entry.size);
