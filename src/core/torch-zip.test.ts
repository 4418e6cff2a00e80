import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openTorchCheckpoint } from './torch-zip.js';

/** A zip of stored entries. */
function zip(entries: Record<string, Buffer>, method = 0): Buffer {
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, data] of Object.entries(entries)) {
    const local = Buffer.alloc(30 + name.length + 7); // an extra field of 7 bytes, as torch pads its entries
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(method, 8);
    local.writeUInt32LE(data.length, 18);
    local.writeUInt32LE(data.length, 22);
    local.writeUInt16LE(name.length, 26);
    local.writeUInt16LE(7, 28);
    local.write(name, 30);
    const central = Buffer.alloc(46 + name.length);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(method, 10);
    central.writeUInt32LE(data.length, 20);
    central.writeUInt32LE(data.length, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt32LE(offset, 42);
    central.write(name, 46);
    locals.push(local, data);
    directory.push(central);
    offset += local.length + data.length;
  }
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(directory.length, 8);
  end.writeUInt16LE(directory.length, 10);
  end.writeUInt32LE(Buffer.concat(directory).length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, ...directory, end]);
}

/** Pickle pieces, enough to write what torch.save writes. */
const bytes = (...codes: number[]) => Buffer.from(codes);
const op = (code: string) => Buffer.from(code, 'latin1');
const name = (module: string, attribute: string) => op(`c${module}\n${attribute}\n`);
const int = (n: number) => Buffer.concat([op('J'), Buffer.from(Int32Array.of(n).buffer)]);
const text = (value: string) => Buffer.concat([op('X'), Buffer.from(Uint32Array.of(Buffer.byteLength(value)).buffer), Buffer.from(value)]);
const tuple = (...items: Buffer[]) => Buffer.concat([op('('), ...items, op('t')]);
const pickle = (body: Buffer) => Buffer.concat([bytes(0x80, 2), body, op('.')]);
const storage = (type: string, key: string, size: number) =>
  Buffer.concat([tuple(text('storage'), name('torch', type), text(key), text('cpu'), int(size)), op('Q')]);
const dict = (items: Record<string, Buffer>) =>
  Buffer.concat([name('collections', 'OrderedDict'), op(')R('), ...Object.entries(items).flatMap(([key, value]) => [text(key), value]), op('u')]);
const tensor = (from: Buffer, shape: number[], strides: number[], offset = 0) =>
  Buffer.concat([
    name('torch._utils', '_rebuild_tensor_v2'),
    tuple(from, int(offset), tuple(...shape.map(int)), tuple(...strides.map(int)), op('\x89'), dict({})),
    op('R'),
  ]);

function save(body: Buffer, data: Record<string, Buffer> = {}, method = 0): string {
  const file = join(mkdtempSync(join(tmpdir(), 'torch-')), 'model.bin');
  const entries = Object.entries(data).map(([key, value]) => [`archive/data/${key}`, value]);
  writeFileSync(file, zip({ 'archive/data.pkl': pickle(body), 'archive/byteorder': Buffer.from('little'), ...Object.fromEntries(entries) }, method));
  return file;
}

const floats = Buffer.from(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);
const brain = Buffer.from(Uint16Array.of(0x3f80, 0xc000).buffer); // 1, -2

describe('torch checkpoint', () => {
  test('gives tensors, views and parameters of a state dict', () => {
    const parameter = Buffer.concat([name('torch._utils', '_rebuild_parameter'), tuple(tensor(storage('BFloat16Storage', '1', 2), [2], [1]), op('\x88'), dict({})), op('R')]);
    const file = save(
      dict({
        'a.weight': tensor(storage('FloatStorage', '0', 6), [2, 3], [3, 1]),
        'a.transposed': tensor(storage('FloatStorage', '0', 6), [3, 2], [1, 3]),
        'a.tail': tensor(storage('FloatStorage', '0', 6), [2], [1], 4),
        'b': parameter,
      }),
      { 0: floats, 1: brain },
    );
    const source = openTorchCheckpoint(file);
    assert.deepEqual([...source.tensors.keys()], ['a.weight', 'a.transposed', 'a.tail', 'b']);
    const values = (key: string) => [...(source.read(key).values as Float32Array)];
    assert.deepEqual(values('a.weight'), [0, 1, 2, 3, 4, 5]);
    assert.deepEqual(values('a.transposed'), [0, 3, 1, 4, 2, 5]);
    assert.deepEqual(values('a.tail'), [4, 5]);
    assert.deepEqual(values('b'), [1, -2]);
    assert.equal(source.tensors.get('b')!.dtype, 'BF16');
    source.close();
    assert.throws(() => source.read('b'), /closed/);
  });

  test('calls a bare tensor `tensor`', () => {
    const source = openTorchCheckpoint(save(tensor(storage('FloatStorage', '0', 6), [1, 6], [6, 1]), { 0: floats }));
    assert.deepEqual(source.tensors.get('tensor')!.shape, [1, 6]);
    source.close();
  });

  const refusals: Record<string, [Buffer, RegExp]> = {
    'a call of os.system': [Buffer.concat([name('os', 'system'), tuple(text('touch owned')), op('R')]), /names "os\.system"/],
    'builtins.eval by STACK_GLOBAL': [Buffer.concat([text('builtins'), text('eval'), op('\x93'), tuple(text('1')), op('R')]), /names "builtins\.eval"/],
    'an allowed prefix with another attribute': [name('torch._utils', '_rebuild_tensor_v2.__globals__'), /names "torch\._utils\._rebuild_tensor_v2\.__globals__"/],
    'the opcode INST': [op('(ios\nsystem\n'), /opcode 0x69/],
    'an extension code': [Buffer.concat([op('\x82'), bytes(1)]), /opcode 0x82/],
    'a call of a storage type': [Buffer.concat([name('torch', 'FloatStorage'), op(')R')]), /calls "torch\.FloatStorage"/],
    'a tensor beyond its storage': [dict({ a: tensor(storage('FloatStorage', '0', 6), [7], [1]) }), /reaches element 6 of a storage of 6/],
    'negative sizes': [dict({ a: tensor(storage('FloatStorage', '0', 6), [-1], [1]) }), /damaged tensor/],
    'a storage that is not in the file': [dict({ a: tensor(storage('FloatStorage', '9', 6), [1], [1]) }), /storage 9\) is missing/],
    'a storage key with a path': [dict({ a: tensor(storage('FloatStorage', '../../0', 6), [1], [1]) }), /damaged storage/],
    'a dictionary inside itself': [Buffer.concat([op('}q'), bytes(0), text('a'), op('h'), bytes(0), op('s')]), /one dictionary twice/],
    'a pickle that ends early': [op('X'), /damaged|ends early/],
    'a number': [int(3), /found number/],
  };
  for (const [what, [body, message]] of Object.entries(refusals)) {
    test(`refuses ${what}`, () => assert.throws(() => openTorchCheckpoint(save(body, { 0: floats })), message));
  }

  test('refuses compressed entries and files that are no zip', () => {
    assert.throws(() => openTorchCheckpoint(save(dict({}), {}, 8)), /is compressed/);
    const file = join(mkdtempSync(join(tmpdir(), 'torch-')), 'old.bin');
    writeFileSync(file, Buffer.alloc(100));
    assert.throws(() => openTorchCheckpoint(file), /no zip directory/);
  });
});
