import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { openCheckpoint } from './checkpoint.js';
import { isLegacyTorch, openLegacyTorchCheckpoint } from './torch-legacy.js';

/** Pickle pieces, enough to write what torch.save wrote before version 1.6. */
const bytes = (...codes: number[]) => Buffer.from(codes);
const op = (code: string) => Buffer.from(code, 'latin1');
const name = (module: string, attribute: string) => op(`c${module}\n${attribute}\n`);
const int = (n: number) => Buffer.concat([op('J'), Buffer.from(Int32Array.of(n).buffer)]);
const text = (value: string) => Buffer.concat([op('X'), Buffer.from(Uint32Array.of(Buffer.byteLength(value)).buffer), Buffer.from(value)]);
const tuple = (...items: Buffer[]) => Buffer.concat([op('('), ...items, op('t')]);
const pickle = (body: Buffer) => Buffer.concat([bytes(0x80, 2), body, op('.')]);
const dict = (items: Record<string, Buffer>) =>
  Buffer.concat([name('collections', 'OrderedDict'), op(')R('), ...Object.entries(items).flatMap(([key, value]) => [text(key), value]), op('u')]);
const storage = (type: string, key: string, size: number, view = op('N')) =>
  Buffer.concat([tuple(text('storage'), name('torch', type), text(key), text('cpu'), int(size), view), op('Q')]);
const tensor = (from: Buffer, shape: number[], strides: number[], offset = 0) =>
  Buffer.concat([name('torch._utils', '_rebuild_tensor_v2'), tuple(from, int(offset), tuple(...shape.map(int)), tuple(...strides.map(int)), op('\x89'), dict({})), op('R')]);

const magic = bytes(0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e);
const machine = (little = true) => pickle(Buffer.concat([op('}('), text('protocol_version'), int(1001), text('little_endian'), op(little ? '\x88' : '\x89'), op('u')]));
const keys = (...names: string[]) => pickle(Buffer.concat([op(']('), ...names.map(text), op('e')]));
const data = (values: Float32Array | BigInt64Array) => Buffer.concat([Buffer.from(BigInt64Array.of(BigInt(values.length)).buffer), Buffer.from(values.buffer)]);

const floats = Float32Array.of(1, 2, 3, 4, 5, 6);
const state = dict({
  'conv.weight': tensor(storage('FloatStorage', '94512', 6), [2, 3], [3, 1]),
  'conv.turned': tensor(storage('FloatStorage', '94512', 6), [3, 2], [1, 3]),
  'bn.num_batches_tracked': tensor(storage('LongStorage', '94768', 1), [], []),
});
const whole = (parts: { version?: number; little?: boolean; value?: Buffer; tail?: Buffer } = {}) =>
  Buffer.concat([
    magic,
    pickle(int(parts.version ?? 1001)),
    machine(parts.little),
    pickle(parts.value ?? state),
    parts.tail ?? Buffer.concat([keys('94512', '94768'), data(floats), data(BigInt64Array.of(7n))]),
  ]);

describe('a checkpoint of PyTorch before 1.6', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'legacy-'));
  after(() => rmSync(scratch, { recursive: true }));
  const save = (content: Buffer) => {
    const file = join(scratch, 'model.pth');
    writeFileSync(file, content);
    return file;
  };

  test('gives its tensors, also as views of one storage', () => {
    const source = openCheckpoint(save(whole()));
    assert.deepEqual([...source.tensors.keys()], ['conv.weight', 'conv.turned', 'bn.num_batches_tracked']);
    assert.deepEqual(source.read('conv.weight').values, floats);
    assert.deepEqual([...source.read('conv.turned').values], [1, 4, 2, 5, 3, 6]);
    assert.deepEqual(source.read('bn.num_batches_tracked').values, BigInt64Array.of(7n));
    source.close();
    assert.throws(() => source.read('conv.weight'), /was closed/);
  });

  test('is told by its first bytes', () => {
    assert.equal(isLegacyTorch(save(whole())), true);
    assert.equal(isLegacyTorch(save(Buffer.from('PK\x03\x04'))), false);
  });

  const attack = Buffer.concat([name('os', 'system'), tuple(text('true')), op('R')]);
  const refused: [what: string, content: Buffer, message: RegExp][] = [
    ['a call of anything that is not a tensor', whole({ value: attack }), /names "os\.system"/],
    ['another protocol', whole({ version: 1002 }), /protocol 1002, expected 1001/],
    ['another byte order', whole({ little: false }), /big-endian/],
    ['views within storages', whole({ value: dict({ a: tensor(storage('FloatStorage', '1', 6, tuple(text('v'))), [6], [1]) }) }), /damaged storage/],
    ['a storage that is missing', whole({ tail: Buffer.concat([keys('94768'), data(BigInt64Array.of(7n))]) }), /storage 94512\) is missing/],
    ['a storage that nothing uses', whole({ tail: Buffer.concat([keys('1'), data(floats)]) }), /nothing in it uses its storage "1"/],
    ['a storage that is cut off', whole().subarray(0, -20), /reaches beyond its end/],
    ['a tensor beyond its storage', whole({ tail: Buffer.concat([keys('94512', '94768'), data(floats.slice(0, 3)), data(BigInt64Array.of(7n))]) }), /reaches element 5 of a storage of 3/],
    ['a head that is cut off', whole().subarray(0, 60), /ends early/],
  ];
  for (const [what, content, message] of refused) test(`refuses ${what}`, () => assert.throws(() => openLegacyTorchCheckpoint(save(content)), message));
});
