import { closeSync, openSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { writeAll } from './files.js';

/**
 * Writes the numbers of a run as a TensorBoard event file (TFRecord framing around `Event` messages of tensorboard/compat/proto/event.proto), so
 * that `tensorboard --logdir runs` shows them. Each process that writes a run makes a file of its own; TensorBoard joins them.
 */
export class TensorboardWriter {
  private readonly file: number;

  constructor(folder: string, now = Date.now()) {
    // Opened for appending: the name is TensorBoard's own pattern, with the process so that two never share one.
    this.file = openSync(join(folder, `events.out.tfevents.${Math.floor(now / 1000)}.${hostname()}.${process.pid}`), 'a');
    this.write([...double(1, now / 1000), ...text(3, 'brain.Event:2')]);
  }

  /** Tells TensorBoard to forget what was logged from `step` on: the steps will be taken again. */
  restart(step: number, now = Date.now()): void {
    const start = [...varint(1, 1)]; // SessionLog.status = START
    this.write([...double(1, now / 1000), ...varint(2, step), ...message(7, start)]);
  }

  scalars(step: number, values: Readonly<Record<string, unknown>>, now = Date.now()): void {
    const summary = Object.entries(values).flatMap(([tag, value]) => (typeof value === 'number' ? message(1, [...text(1, tag), ...float(2, value)]) : []));
    if (summary.length > 0) this.write([...double(1, now / 1000), ...varint(2, step), ...message(5, summary)]);
  }

  close(): void {
    closeSync(this.file);
  }

  private write(event: number[]): void {
    writeAll(this.file, record(Uint8Array.from(event)));
  }
}

/** A TFRecord: length, its checksum, data, its checksum, little-endian. */
export function record(data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(data.length + 16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(crc32c(bytes.subarray(0, 8))), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, masked(crc32c(data)), true);
  return bytes;
}

/** TFRecord stores checksums rotated and shifted, so that a record within a record does not look like one. */
const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C (Castagnoli). */
export function crc32c(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

// Protocol buffers: a key (field number and wire type), then the value.
const key = (field: number, wireType: number) => field * 8 + wireType; // fields here are below 16, so one byte does

function varint(field: number, value: number): number[] {
  const bytes = [key(field, 0)];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return [...bytes, value];
}

const message = (field: number, content: readonly number[]): number[] => [...varint(field, content.length).with(0, key(field, 2)), ...content];
const text = (field: number, value: string): number[] => message(field, [...Buffer.from(value)]);
const double = (field: number, value: number): number[] => [key(field, 1), ...new Uint8Array(Float64Array.of(value).buffer)];
const float = (field: number, value: number): number[] => [key(field, 5), ...new Uint8Array(Float32Array.of(value).buffer)];
