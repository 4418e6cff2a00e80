import { closeSync, existsSync, fstatSync, fsyncSync, mkdirSync, openSync, readFileSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './floats.js';

/**
 * The safetensors format: 8 bytes little-endian header length, a JSON header that names each tensor's dtype, shape and byte range, then the raw
 * little-endian data without gaps (https://github.com/huggingface/safetensors). Files are read one tensor at a time and written atomically.
 */
export type Dtype = keyof typeof dtypes;

/** Values as they are computed with. float16 and bfloat16 become float32; booleans are 0 and 1. */
export type Values =
  | Float32Array | Float64Array | Int32Array | Int16Array | Int8Array | Uint8Array | Uint16Array | Uint32Array | BigInt64Array | BigUint64Array;

export interface TensorInfo {
  readonly dtype: Dtype;
  readonly shape: number[];
}

export interface StoredTensor extends TensorInfo {
  /** Row-major. */
  readonly values: Values;
}

/** A tensor as it is stored: little-endian bytes, row-major. */
export interface RawTensor extends TensorInfo {
  readonly bytes: Uint8Array;
}

/** Gives so many bytes at the start of a buffer, valid until the next call. */
export type Scratch = (bytes: number) => Uint8Array;

/** Scratch memory that is kept for the next call: fresh pages for every tensor of a large checkpoint cost more than reading it. */
export function reusedScratch(): Scratch {
  let buffer = new ArrayBuffer(0);
  return (bytes) => {
    if (buffer.byteLength < bytes) buffer = new ArrayBuffer(bytes);
    return new Uint8Array(buffer, 0, bytes);
  };
}

/** Named tensors in some file or files, read one at a time. */
export interface TensorSource {
  /** For messages: the path. */
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  read(key: string): StoredTensor;
  /** The stored bytes in scratch memory, without a copy of their own; absent, or undefined for a tensor, where there are only values. */
  readRaw?(key: string, scratch: Scratch): RawTensor | undefined;
  /** Where a tensor's bytes lie, for a reader that maps files into memory; absent, or undefined, where they lie in no file as they are. */
  locate?(key: string): { file: string; offset: number } | undefined;
  close(): void;
}

/** Decoders take bytes at offset 0 of their own buffer, encoders give bytes back. */
const view = <A extends Values>(make: new (buffer: ArrayBuffer) => A) => ({
  decode: (buffer: ArrayBuffer): Values => new make(buffer),
  encode: (values: Values): ArrayBufferView => {
    if (values instanceof make) return values;
    return convert(values, make);
  },
});

/** Number of bytes of an element, and the way in and out of memory. */
const dtypes = {
  F64: { size: 8, ...view(Float64Array) },
  F32: { size: 4, ...view(Float32Array) },
  F16: {
    size: 2,
    decode: (buffer: ArrayBuffer): Values => float16ToFloat32(new Uint16Array(buffer)),
    encode: (values: Values): ArrayBufferView => float32ToFloat16(asFloat32(values)),
  },
  BF16: {
    size: 2,
    decode: (buffer: ArrayBuffer): Values => bfloat16ToFloat32(new Uint16Array(buffer)),
    encode: (values: Values): ArrayBufferView => float32ToBfloat16(asFloat32(values)),
  },
  I64: { size: 8, ...view(BigInt64Array) },
  U64: { size: 8, ...view(BigUint64Array) },
  I32: { size: 4, ...view(Int32Array) },
  U32: { size: 4, ...view(Uint32Array) },
  I16: { size: 2, ...view(Int16Array) },
  U16: { size: 2, ...view(Uint16Array) },
  I8: { size: 1, ...view(Int8Array) },
  U8: { size: 1, ...view(Uint8Array) },
  BOOL: { size: 1, ...view(Uint8Array) },
};

export const isFloat = (dtype: Dtype): boolean => dtype === 'F32' || dtype === 'F16' || dtype === 'BF16' || dtype === 'F64';
export const elementSize = (dtype: Dtype): number => dtypes[dtype].size;
export const elementCount = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Little-endian bytes as values. `bytes` is copied where its alignment asks for it. */
export function decodeValues(dtype: Dtype, bytes: Uint8Array): Values {
  const whole = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer;
  return dtypes[dtype].decode(whole ? (bytes.buffer as ArrayBuffer) : (new Uint8Array(bytes).buffer as ArrayBuffer));
}

export function encodeValues(dtype: Dtype, values: Values): Uint8Array {
  const encoded = dtypes[dtype].encode(values);
  return new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength);
}

/** Values of any numeric dtype as float32; int64 beyond 2^53 loses digits, as any float does. */
export const asFloat32 = (values: Values): Float32Array => (values instanceof Float32Array ? values : convert(values, Float32Array));
export const asInt32 = (values: Values): Int32Array => (values instanceof Int32Array ? values : convert(values, Int32Array));

function convert<A extends Values>(values: Values, make: new (buffer: ArrayBuffer) => A): A {
  const probe = new make(new ArrayBuffer(0));
  const isBig = probe instanceof BigInt64Array || probe instanceof BigUint64Array;
  const result = new make(new ArrayBuffer(values.length * probe.BYTES_PER_ELEMENT));
  for (let i = 0; i < values.length; i++) (result as unknown as (number | bigint)[])[i] = isBig ? BigInt(values[i]) : Number(values[i]);
  return result;
}

const maxHeaderBytes = 100_000_000; // as the reference implementation

interface Header {
  metadata: Record<string, string>;
  /** Byte ranges are relative to `dataStart`. */
  tensors: Map<string, TensorInfo & { begin: number; end: number }>;
  dataStart: number;
}

function readExactly(fd: number, position: number, length: number, file: string, scratch: Scratch = (size) => new Uint8Array(size)): Uint8Array {
  const bytes = scratch(length);
  for (let done = 0; done < length; ) {
    // One read call moves at most 2^31 - 1 bytes.
    const count = readSync(fd, bytes, done, Math.min(length - done, 2 ** 30), position + done);
    if (count === 0) throw new Error(`${file}: expected ${length} bytes at ${position}, found only ${done}. The file was cut or changed while it was read.`);
    done += count;
  }
  return bytes;
}

function readHeader(fd: number, file: string): Header {
  const size = fstatSync(fd).size;
  const refuse = (why: string): never => {
    throw new Error(`${file} is not a valid safetensors file: ${why}. Fetch or convert it again.`);
  };
  if (size < 8) refuse(`it has ${size} bytes, fewer than the 8 of the header length`);
  const prefix = readExactly(fd, 0, 8, file);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes)) refuse(`its header would be ${length} bytes long, more than ${maxHeaderBytes}`);
  const headerLength = Number(length);
  if (8 + headerLength > size) refuse(`its header would end at byte ${8 + headerLength}, the file at ${size}`);

  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(readExactly(fd, 8, headerLength, file)));
  } catch (error) {
    refuse(`its header is not JSON (${(error as Error).message})`);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) refuse('its header is not a JSON object');

  const header: Header = { metadata: {}, tensors: new Map(), dataStart: 8 + headerLength };
  const dataLength = size - header.dataStart;
  for (const [key, value] of Object.entries(json as Record<string, unknown>)) {
    if (key === '__metadata__') {
      const pairs = Object.entries((value ?? {}) as Record<string, unknown>);
      if (pairs.some(([, text]) => typeof text !== 'string')) refuse('__metadata__ must map text to text');
      header.metadata = Object.fromEntries(pairs) as Record<string, string>;
      continue;
    }
    const { dtype, shape, data_offsets: range } = (value ?? {}) as { dtype?: string; shape?: unknown; data_offsets?: unknown };
    if (typeof dtype !== 'string' || !(dtype in dtypes)) refuse(`"${key}" has dtype ${JSON.stringify(dtype)}; read here: ${Object.keys(dtypes).join(', ')}`);
    const isSize = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
    if (!Array.isArray(shape) || !shape.every(isSize)) refuse(`"${key}" has shape ${JSON.stringify(shape)}`);
    if (!Array.isArray(range) || range.length !== 2 || !range.every(isSize) || range[0] > range[1]) refuse(`"${key}" has data_offsets ${JSON.stringify(range)}`);
    const [begin, end] = range as [number, number];
    if (end > dataLength) refuse(`"${key}" ends at data byte ${end}, the data at ${dataLength}`);
    const expected = elementCount(shape as number[]) * dtypes[dtype as Dtype].size;
    if (end - begin !== expected) refuse(`"${key}" holds ${end - begin} bytes; ${dtype} of shape [${(shape as number[]).join(', ')}] needs ${expected}`);
    header.tensors.set(key, { dtype: dtype as Dtype, shape: shape as number[], begin, end });
  }

  let position = 0;
  for (const [key, { begin, end }] of [...header.tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (begin !== position) refuse(`"${key}" starts at data byte ${begin} where ${position} was expected: tensors overlap or leave a gap`);
    position = end;
  }
  if (position !== dataLength) refuse(`${dataLength - position} bytes at its end belong to no tensor`);
  return header;
}

/** Opens a file and reads its header alone. The caller closes it. */
export function openSafetensors(file: string): TensorSource {
  const fd = openSync(file, 'r');
  let header: Header;
  try {
    header = readHeader(fd, file);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  let open = true;
  const readRaw = (key: string, scratch?: Scratch): RawTensor => {
    const info = header.tensors.get(key);
    if (!info) throw new Error(`${file} has no tensor "${key}". It has ${header.tensors.size}, first "${[...header.tensors.keys()][0]}".`);
    if (!open) throw new Error(`${file} was closed before "${key}" was read.`);
    return { dtype: info.dtype, shape: info.shape, bytes: readExactly(fd, header.dataStart + info.begin, info.end - info.begin, file, scratch) };
  };
  return {
    name: file,
    metadata: header.metadata,
    tensors: header.tensors,
    read(key) {
      const { dtype, shape, bytes } = readRaw(key);
      return { dtype, shape, values: decodeValues(dtype, bytes) };
    },
    readRaw,
    locate(key) {
      const info = header.tensors.get(key);
      return info && { file, offset: header.dataStart + info.begin };
    },
    close() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

/**
 * Opens the shards named by a `model.safetensors.index.json` as one source. Every tensor must be where the index says.
 * `open` reads one shard: an index of torch files gives another.
 */
export function openShards(indexFile: string, open: (file: string) => TensorSource = openSafetensors): TensorSource {
  const index = JSON.parse(readFileSync(indexFile, 'utf8')) as { weight_map?: Record<string, string> };
  if (!index.weight_map) throw new Error(`${indexFile}: expected an object with "weight_map", found the keys ${Object.keys(index).join(', ')}.`);
  const shards = new Map<string, TensorSource>();
  const close = () => shards.forEach((shard) => shard.close());
  try {
    const tensors = new Map<string, TensorInfo>();
    for (const [key, shardName] of Object.entries(index.weight_map)) {
      if (basename(shardName) !== shardName) throw new Error(`${indexFile} places "${key}" in "${shardName}". A shard must lie beside its index.`);
      const path = join(dirname(indexFile), shardName);
      if (!existsSync(path)) throw new Error(`${indexFile} places "${key}" in ${shardName}, which is not there. Fetch every shard.`);
      let shard = shards.get(shardName);
      if (!shard) shards.set(shardName, (shard = open(path)));
      const info = shard.tensors.get(key);
      if (!info) throw new Error(`${indexFile} places "${key}" in ${shardName}, which does not hold it.`);
      tensors.set(key, info);
    }
    for (const [shardName, shard] of shards) {
      for (const key of shard.tensors.keys()) {
        if (index.weight_map[key] !== shardName) throw new Error(`${shardName} holds "${key}", which ${indexFile} does not place there.`);
      }
    }
    return { name: indexFile, metadata: {}, tensors, read: (key) => shardOf(key).read(key), readRaw: (key, scratch) => shardOf(key).readRaw?.(key, scratch), locate: (key) => shardOf(key).locate?.(key), close };
    function shardOf(key: string): TensorSource {
      const shard = shards.get(index.weight_map![key]);
      if (!shard) throw new Error(`${indexFile} has no tensor "${key}".`);
      return shard;
    }
  } catch (error) {
    close();
    throw error;
  }
}

/** Reads a small file whole. */
export function readSafetensors(file: string): { tensors: Map<string, StoredTensor>; metadata: Readonly<Record<string, string>> } {
  const source = openSafetensors(file);
  try {
    return { tensors: new Map([...source.tensors.keys()].map((key) => [key, source.read(key)])), metadata: source.metadata };
  } finally {
    source.close();
  }
}

export interface TensorToWrite extends TensorInfo {
  /** Values, or a function called once when their turn comes, which may give them in parts: a large file never lies in memory whole. Rounded to `dtype`. */
  readonly values: Values | (() => Values | Iterable<Values>);
}

/** Writes a file under a temporary name, flushes it to disk and renames it: a reader sees the whole file or none. Folders are made. */
export function writeSafetensors(file: string, tensors: ReadonlyMap<string, TensorToWrite>, metadata?: Record<string, string>): void {
  // Larger elements first keeps every tensor aligned to its element, as there may be no gaps.
  const ordered = [...tensors].sort(([, a], [, b]) => elementSize(b.dtype) - elementSize(a.dtype));
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {};
  let position = 0;
  for (const [key, { dtype, shape }] of ordered) {
    if (key === '__metadata__') throw new Error('A tensor may not be named "__metadata__".');
    const end = position + elementCount(shape) * elementSize(dtype);
    header[key] = { dtype, shape, data_offsets: [position, end] };
    position = end;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padding = (8 - (json.length % 8)) % 8;
  const start = Buffer.alloc(8 + json.length + padding, ' ');
  start.writeBigUInt64LE(BigInt(json.length + padding));
  json.copy(start, 8);

  writeAtomically(file, (write) => {
    write(start);
    for (const [key, { dtype, shape, values }] of ordered) {
      const given = typeof values === 'function' ? values() : values;
      let written = 0;
      for (const part of ArrayBuffer.isView(given) ? [given] : given) {
        write(encodeValues(dtype, part));
        written += part.length;
      }
      if (written !== elementCount(shape)) throw new Error(`"${key}": shape [${shape.join(', ')}] needs ${elementCount(shape)} values, found ${written}.`);
    }
  });
}

/** Writes through a temporary file beside `file`, which is removed when `body` throws. */
export function writeAtomically(file: string, body: (write: (bytes: Uint8Array) => void) => void): void {
  mkdirSync(dirname(file), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  const fd = openSync(temporary, 'w');
  let open = true;
  try {
    body((bytes) => {
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, Math.min(bytes.length - done, 2 ** 30));
    });
    fsyncSync(fd);
    closeSync(fd);
    open = false;
    renameSync(temporary, file);
  } catch (error) {
    if (open) closeSync(fd);
    rmSync(temporary, { force: true });
    throw error;
  }
}
