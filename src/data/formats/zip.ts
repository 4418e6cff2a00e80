import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';

export interface Zip {
  names: string[];
  /** Bytes of an entry; an error when there is none or its checksum is wrong. */
  read(name: string): Uint8Array;
  close(): void;
}

interface Entry {
  method: number;
  compressedSize: number;
  size: number;
  crc: number;
  offset: number;
}

/** Opens a zip for reading single entries (stored or deflated). Archives past 4 GiB (zip64) are refused. */
export function openZip(file: string): Zip {
  const descriptor = openSync(file, 'r');
  const read = (position: number, length: number) => {
    const bytes = Buffer.alloc(length);
    if (readSync(descriptor, bytes, 0, length, position) !== length) throw new Error(`${file} is cut off: expected ${length} bytes at ${position}.`);
    return bytes;
  };
  try {
    const entries = readDirectory(file, read, fstatSync(descriptor).size);
    return {
      names: [...entries.keys()],
      read(name) {
        const entry = entries.get(name);
        if (!entry) throw new Error(`${file} has no entry "${name}".`);
        const header = read(entry.offset, 30);
        if (header.readUInt32LE(0) !== 0x04034b50) throw new Error(`${file}: entry "${name}" does not begin where the directory says.`);
        const data = read(entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28), entry.compressedSize);
        const bytes = entry.method === 0 ? data : entry.method === 8 ? inflateRawSync(data, { maxOutputLength: Math.max(1, entry.size) }) : undefined;
        if (!bytes) throw new Error(`${file}: entry "${name}" is compressed by method ${entry.method}. Expected stored or deflated.`);
        if (bytes.length !== entry.size || crc32(bytes) !== entry.crc) throw new Error(`${file}: entry "${name}" is damaged (checksum or size differs).`);
        return bytes;
      },
      close: () => closeSync(descriptor),
    };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

function readDirectory(file: string, read: (position: number, length: number) => Buffer, fileSize: number): Map<string, Entry> {
  const tailLength = Math.min(fileSize, 65_557);
  const tail = read(fileSize - tailLength, tailLength);
  const at = tail.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  if (at < 0) throw new Error(`${file} is not a zip, or it was cut off: its directory is missing.`);
  const count = tail.readUInt16LE(at + 10);
  const [size, offset] = [tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)];
  if (count === 0xffff || offset === 0xffffffff) throw new Error(`${file} is a zip64 archive, which is not supported. Unpack it and give the folder.`);
  const directory = read(offset, size);
  const entries = new Map<string, Entry>();
  for (let i = 0, p = 0; i < count; i++) {
    if (p + 46 > directory.length || directory.readUInt32LE(p) !== 0x02014b50) throw new Error(`${file}: the zip directory is damaged at entry ${i}.`);
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => directory.readUInt16LE(p + field));
    const name = directory.toString('utf8', p + 46, p + 46 + nameLength);
    if (!name.endsWith('/')) {
      entries.set(name, {
        method: directory.readUInt16LE(p + 10),
        crc: directory.readUInt32LE(p + 16),
        compressedSize: directory.readUInt32LE(p + 20),
        size: directory.readUInt32LE(p + 24),
        offset: directory.readUInt32LE(p + 42),
      });
    }
    p += 46 + nameLength + extraLength + commentLength;
  }
  return entries;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});

/** CRC-32 as in zip and PNG. */
export function crc32(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of bytes) c = (c >>> 8) ^ crcTable[(c ^ byte) & 255];
  return (c ^ 0xffffffff) >>> 0;
}

/** A zip of stored entries: pictures do not shrink further. */
export function makeZip(files: readonly { name: string; bytes: Uint8Array }[]): Uint8Array {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, bytes } of files) {
    const nameBytes = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0); // version needed
    common.writeUInt16LE(0x800, 2); // names are UTF-8
    common.writeUInt16LE(0x21, 8); // 1 January 1980, so that the same files give the same zip
    common.writeUInt32LE(crc32(bytes), 10);
    common.writeUInt32LE(bytes.length, 14);
    common.writeUInt32LE(bytes.length, 18);
    common.writeUInt16LE(nameBytes.length, 22);
    parts.push(Buffer.from([0x50, 0x4b, 3, 4]), common, nameBytes, Buffer.from(bytes));
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(offset, 10);
    directory.push(Buffer.from([0x50, 0x4b, 1, 2, 20, 0]), common, rest, nameBytes);
    offset += 30 + nameBytes.length + bytes.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, ...directory, end]);
}
