import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './floats.js';
import { openSafetensors, openShards, readSafetensors, writeSafetensors, type TensorToWrite, type Values } from './safetensors.js';

const fixtures = 'data/fixtures/safetensors_format';
const json = (name: string) => JSON.parse(readFileSync(join(fixtures, name), 'utf8'));
const folder = () => mkdtempSync(join(tmpdir(), 'safetensors-'));
const number = (value: unknown) => (value === 'nan' ? NaN : value === 'inf' ? Infinity : value === '-inf' ? -Infinity : (value as number));

describe('safetensors', () => {
  test('reads every data type', () => {
    const { tensors, metadata } = readSafetensors(join(fixtures, 'dtypes.safetensors'));
    const expected = json('dtypes.json');
    assert.deepEqual({ ...metadata }, expected.metadata);
    assert.deepEqual([...tensors.keys()].sort(), Object.keys(expected.tensors).sort());
    for (const [key, { dtype, shape, values }] of Object.entries<{ dtype: string; shape: number[]; values: unknown[] }>(expected.tensors)) {
      const found = tensors.get(key)!;
      assert.equal(found.dtype, dtype, key);
      assert.deepEqual(found.shape, shape, key);
      const wanted = dtype === 'I64' ? values.map((v) => BigInt(v as string)) : values.map(number);
      assert.deepEqual([...(found.values as Iterable<number | bigint>)], wanted, key);
    }
  });

  test('refuses every invalid file and names it', () => {
    const files = readdirSync(join(fixtures, 'invalid'));
    assert.equal(files.length, 6);
    for (const file of files) assert.throws(() => openSafetensors(join(fixtures, 'invalid', file)), (error: Error) => error.message.includes(file), file);
  });

  test('refuses gaps, which a repeated key would leave', () => {
    const file = join(folder(), 'gap.safetensors');
    const header = Buffer.from('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}');
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    writeFileSync(file, Buffer.concat([length, header, Buffer.alloc(3)]));
    assert.throws(() => openSafetensors(file), /overlap or leave a gap/);
  });

  test('reads shards as one', () => {
    const source = openShards(join(fixtures, 'model.safetensors.index.json'));
    for (const [key, { shape, sum, first, last }] of Object.entries<Record<string, any>>(json('shards.json'))) {
      const { values, shape: found } = source.read(key);
      const numbers = [...(values as Float32Array)];
      assert.deepEqual(found, shape);
      assert.equal(numbers[0], first);
      assert.equal(numbers.at(-1), last);
      assert.ok(Math.abs(numbers.reduce((a, b) => a + b, 0) - sum) < 1e-4);
    }
    source.close();
  });

  test('refuses an index that leads out of its folder', () => {
    const file = join(folder(), 'model.safetensors.index.json');
    writeFileSync(file, JSON.stringify({ weight_map: { a: '../model.safetensors' } }));
    assert.throws(() => openShards(file), /must lie beside its index/);
  });

  test('writes what it reads, data types and all', () => {
    const file = join(folder(), 'sub', 'copy.safetensors');
    const original = readSafetensors(join(fixtures, 'dtypes.safetensors'));
    writeSafetensors(file, original.tensors, { ...original.metadata });
    const copy = readSafetensors(file);
    assert.deepEqual(copy.metadata, original.metadata);
    for (const [key, tensor] of original.tensors) assert.deepEqual(copy.tensors.get(key), tensor, key);
    assert.deepEqual(readdirSync(join(file, '..')), ['copy.safetensors']);
  });

  test('leaves no file behind when writing fails', () => {
    const at = folder();
    const broken: TensorToWrite = { dtype: 'F32', shape: [2], values: () => { throw new Error('disk on fire'); } };
    assert.throws(() => writeSafetensors(join(at, 'x.safetensors'), new Map([['a', broken]])), /disk on fire/);
    const short: TensorToWrite = { dtype: 'F32', shape: [2], values: new Float32Array(3) };
    assert.throws(() => writeSafetensors(join(at, 'x.safetensors'), new Map([['a', short]])), /needs 2 values, found 3/);
    assert.deepEqual(readdirSync(at), []);
  });

  test('converts integers where it is asked for floats', () => {
    const file = join(folder(), 'x.safetensors');
    const values: Values = new BigInt64Array([1n, -2n]);
    writeSafetensors(file, new Map<string, TensorToWrite>([['a', { dtype: 'BF16', shape: [2], values }]]));
    assert.deepEqual([...(readSafetensors(file).tensors.get('a')!.values as Float32Array)], [1, -2]);
  });
});

describe('float formats', () => {
  const rounding = json('rounding.json');
  const values = Float32Array.from(rounding.float32.map(number));

  test('round to nearest with ties to even', () => {
    assert.deepEqual([...bfloat16ToFloat32(float32ToBfloat16(values))], rounding.to_bf16.map(number));
    assert.deepEqual([...float16ToFloat32(float32ToFloat16(values))], rounding.to_f16.map(number));
  });

  test('keep every 16-bit pattern that is a number', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    for (const [decode, encode] of [[float16ToFloat32, float32ToFloat16], [bfloat16ToFloat32, float32ToBfloat16]] as const) {
      const decoded = decode(all);
      const encoded = encode(decoded);
      for (let i = 0; i < 65536; i++) {
        if (Number.isNaN(decoded[i])) assert.ok(Number.isNaN(decode(encoded.slice(i, i + 1))[0]));
        else assert.equal(encoded[i], i);
      }
    }
  });
});
