import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { crc32c, record, TensorboardWriter } from './tensorboard.js';

describe('a TensorBoard file', () => {
  test('has the checksums of the standard', () => {
    assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283); // the check value of CRC-32C
    assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa); // RFC 3720, B.4
  });

  test('frames a record by length, checksum, data and checksum', () => {
    const framed = Buffer.from(record(Buffer.from('data')));
    assert.equal(framed.readBigUInt64LE(0), 4n);
    assert.equal(framed.subarray(12, 16).toString(), 'data');
    const unmask = (stored: number) => {
      const rotated = (stored - 0xa282ead8) >>> 0;
      return ((rotated >>> 17) | (rotated << 15)) >>> 0;
    };
    assert.equal(unmask(framed.readUInt32LE(8)), crc32c(framed.subarray(0, 8)));
    assert.equal(unmask(framed.readUInt32LE(16)), crc32c(Buffer.from('data')));
  });

  test('holds each number under its name and step', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tensorboard-'));
    const writer = new TensorboardWriter(folder, 0);
    writer.scalars(300, { loss: 0.5, ids: 'left out' }, 0);
    writer.restart(2, 0);
    writer.close();
    const [file] = readdirSync(folder);
    assert.match(file, /^events\.out\.tfevents\.0\./);
    const bytes = readFileSync(join(folder, file));
    const events: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = Number(bytes.readBigUInt64LE(at));
      events.push(bytes.subarray(at + 12, at + 12 + length));
      at += length + 16;
    }
    assert.equal(events.length, 3);
    assert.equal(events[0].toString('hex'), '090000000000000000' + '1a0d' + Buffer.from('brain.Event:2').toString('hex'));
    // wall_time 0, step 300, summary { value { tag "loss" simple_value 0.5 } }
    assert.equal(events[1].toString('hex'), '090000000000000000' + '10ac02' + '2a0d' + '0a0b' + '0a04' + Buffer.from('loss').toString('hex') + '150000003f');
    assert.equal(events[2].toString('hex'), '090000000000000000' + '1002' + '3a02' + '0801');
  });
});
