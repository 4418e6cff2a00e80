import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { assignParams, hashFile, hashSpec, loadArtefact, loadParams, merged, openCheckpoint, prefixed, saveArtefact, saveParams } from './checkpoint.js';
import { flatten, initialize, normal, param } from './params.js';
import { openSafetensors, readSafetensors, writeSafetensors, type TensorToWrite } from './safetensors.js';

const spec = {
  conv: { weight: param<tf.Rank.R4>([3, 3, 2, 5], normal(1), 'conv'), bias: param<tf.Rank.R1>([5], normal(1)) },
  layers: [{ weight: param<tf.Rank.R2>([4, 3], normal(1)) }, { weight: param<tf.Rank.R2>([4, 3], normal(1)) }],
};
const folder = () => mkdtempSync(join(tmpdir(), 'checkpoint-'));
const f32 = (shape: number[], values: number[] = Array(shape.reduce((a, b) => a * b, 1)).fill(0)): TensorToWrite => ({ dtype: 'F32', shape, values: Float32Array.from(values) });
const written = (tensors: Record<string, TensorToWrite>) => {
  const file = join(folder(), 'model.safetensors');
  writeSafetensors(file, new Map(Object.entries(tensors)));
  return file;
};
const values = (tree: unknown) => new Map([...flatten(tree)].map(([key, tensor]) => [key, [...tensor.dataSync()]]));

describe('checkpoint', () => {
  test('loads what it saved, kernels in the layout of files', () => {
    const params = initialize(spec, 1);
    const file = join(folder(), 'model.safetensors');
    saveParams(file, params, { metadata: { made: 'here' } });
    const { tensors, metadata } = readSafetensors(file);
    assert.deepEqual({ ...metadata }, { made: 'here' });
    assert.deepEqual(tensors.get('conv.weight')!.shape, [5, 2, 3, 3]);
    const inFile = tf.tidy(() => params.conv.weight.transpose([3, 2, 0, 1]).dataSync());
    assert.deepEqual(tensors.get('conv.weight')!.values, inFile);
    const loaded = loadParams(spec, file);
    assert.deepEqual(values(loaded), values(params));
    const other = initialize(spec, 2);
    assignParams(other, file);
    assert.deepEqual(values(other), values(params));
    tf.dispose([params, loaded, other]);
  });

  test('says that 16-bit values are computed with in float32', () => {
    const params = initialize(spec, 1);
    const file = join(folder(), 'model.safetensors');
    for (const dtype of ['f16', 'bf16'] as const) {
      saveParams(file, params, { dtype });
      const notes: string[] = [];
      const loaded = loadParams(spec, file, { note: (line) => notes.push(line) });
      assert.match(notes.join(), new RegExp(`${dtype.toUpperCase()}: widened, computed in float32`));
      const [a, b] = [values(params).get('conv.bias')!, values(loaded).get('conv.bias')!];
      a.forEach((x, i) => assert.ok(Math.abs(x - b[i]) <= Math.abs(x) * 2 ** -8));
      tf.dispose(loaded);
    }
    tf.dispose(params);
  });

  test('lists what is missing, unexpected, misshapen and of a wrong dtype', () => {
    const file = written({
      'conv.weight': f32([3, 3, 2, 5]),
      'conv.bias': { dtype: 'I32', shape: [5], values: new Int32Array(5) },
      'layers.0.weight': f32([4, 3]),
      'layers.2.weight': f32([4, 3]),
    });
    const before = tf.memory().numTensors;
    assert.throws(() => loadParams(spec, file), (error: Error) => {
      assert.match(error.message, /1 missing: layers\.1\.weight/);
      assert.match(error.message, /1 unexpected: layers\.2\.weight/);
      assert.match(error.message, /conv\.weight: expected shape \[5, 2, 3, 3\], found \[3, 3, 2, 5\]/);
      assert.match(error.message, /conv\.bias: expected a floating-point dtype, found I32/);
      return true;
    });
    assert.equal(tf.memory().numTensors, before);
  });

  test('refuses NaN, on reading and on writing', () => {
    const one = { a: param<tf.Rank.R1>([2], normal(1)) };
    const before = tf.memory().numTensors;
    assert.throws(() => loadParams(one, written({ a: f32([2], [1, NaN]) })), /"a" has 1 of 2 values that are NaN/);
    assert.equal(tf.memory().numTensors, before);
    assert.throws(() => saveParams(join(folder(), 'x'), new Map([['a', tf.tensor([NaN])]])), /"a" holds NaN/);
  });

  test('reads one part of a whole, renames, ignores, and starts the rest from a seed', () => {
    const file = written({ 'part.first.weight': f32([4, 3], Array(12).fill(7)), 'part.inv_freq': f32([1]), 'other.x': f32([1]) });
    const options = {
      prefix: 'part',
      rename: (key: string) => key.replace('first', 'layers.0'),
      ignore: /inv_freq$/,
      allowMissing: { prefixes: ['conv', 'layers.1'], seed: 3 },
    };
    const loaded = loadParams(spec, file, options);
    const seeded = initialize(spec, 3);
    assert.deepEqual(values(loaded).get('layers.0.weight'), Array(12).fill(7));
    assert.deepEqual(values(loaded).get('conv.weight'), values(seeded).get('conv.weight'));
    assert.throws(() => loadParams(spec, file, { ...options, allowMissing: undefined }), /3 missing/);
    tf.dispose([loaded, seeded]);
  });

  test('merges sources and lets a later one override only when asked', () => {
    const [a, b] = [openSafetensors(written({ x: f32([1], [1]), y: f32([1], [1]) })), openSafetensors(written({ y: f32([1], [2]) }))];
    assert.throws(() => merged([a, b]), /"y" is in .* and in/);
    const both = merged([a, b], { override: true });
    assert.deepEqual([...both.tensors.keys()].map((key) => both.read(key).values[0]), [1, 2]);
    assert.deepEqual([...prefixed(both, 'm').tensors.keys()], ['m.x', 'm.y']);
    assert.equal(prefixed(both, 'm').read('m.y').values[0], 2);
    both.close();
  });

  test('finds the weights of a folder, or says what it looked for', () => {
    const source = openCheckpoint('data/fixtures/dreamllm/model.safetensors');
    source.close();
    const sharded = openCheckpoint('data/fixtures/safetensors_format/model.safetensors.index.json');
    assert.equal(sharded.tensors.size, 6);
    sharded.close();
    assert.throws(() => openCheckpoint(folder()), /expected one of model\.safetensors/);
    assert.throws(() => openCheckpoint('nowhere'), /does not exist/);
  });

  test('refuses a spec whose rank-4 parameters are no kernels', () => {
    assert.throws(() => loadParams({ a: param([1, 1, 1, 1], normal(1)) }, written({ a: f32([1, 1, 1, 1]) })), /Rank 4 and layout "conv"/);
  });
});

describe('artefact', () => {
  const about = { seed: 1 };
  const make = (parents: string[] = []) => {
    const dir = folder();
    const params = initialize(spec, 1);
    const artefact = saveArtefact(dir, params, { name: 'test', spec: hashSpec(spec), trainable: ['conv'], parents, about }, 'f16');
    tf.dispose(params);
    return { dir, artefact };
  };

  test('knows its parent, model and trainable parts', () => {
    const parent = make().artefact;
    const { dir, artefact } = make([parent.hash]);
    const loaded = loadArtefact(dir, { expectedParent: parent.hash, expectedSpec: spec });
    loaded.source.close();
    assert.deepEqual(loaded.artefact, artefact);
    assert.equal(artefact.hash, hashFile(join(dir, 'model.safetensors')));
    assert.throws(() => loadArtefact(dir, { expectedParent: 'abc' }), /the parent differs: expected abc/);
    assert.throws(() => loadArtefact(dir, { expectedSpec: spec.conv }), /the model differs/);
  });

  test('is refused when weights or record were changed', () => {
    const { dir, artefact } = make();
    const record = join(dir, 'artefact.json');
    const original = readFileSync(record);
    writeFileSync(record, JSON.stringify({ ...artefact, trainable: [] }));
    assert.throws(() => loadArtefact(dir), /One of them was replaced/);
    writeFileSync(record, original);
    const weights = join(dir, 'model.safetensors');
    const bytes = readFileSync(weights);
    bytes[bytes.length - 1] ^= 1;
    writeFileSync(weights, bytes);
    assert.throws(() => loadArtefact(dir), /were changed after the stage wrote them/);
  });
});
