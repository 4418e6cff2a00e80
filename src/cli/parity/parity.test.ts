import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { modelBackends } from '../../core/engine/test-backends.js';
import { readSafetensors, writeSafetensors, type StoredTensor } from '../../core/safetensors.js';
import { runFixture } from '../parity.js';
import { Fixture, fixtureFolders } from './fixture.js';
import { largestDifference } from './report.js';

const failures = async (folder: string) => {
  const { outputs } = await runFixture(new Fixture(folder));
  assert.ok(outputs.length > 0);
  return outputs.filter(({ ok }) => !ok).map(({ name, note }) => [name, note]);
};

for (const { name: backend, use } of modelBackends()) {
  describe(`parity on ${backend}`, () => {
    before(use);

    for (const name of ['llama_mha', 'llama_gqa', 'clip_vision_28', 'clip_vision_64', 'clip_text', 'clip_text_eos', 'clip_model', 'optimizer']) {
      test(`holds for ${name}, and leaves no tensor behind`, async () => {
        const tensors = tf.memory().numTensors;
        assert.deepEqual(await failures(`data/fixtures/${name}`), []);
        assert.equal(tf.memory().numTensors, tensors);
      });
    }
  });
}

describe('parity', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'parity-'));
  before(() => tf.setBackend('cpu'));
  after(() => rmSync(scratch, { recursive: true }));

  /** A copy of clip_text whose files were changed. */
  function changed(file: string, change: (tensors: Map<string, StoredTensor>) => void): string {
    const folder = mkdtempSync(join(scratch, 'clip_text-'));
    cpSync('data/fixtures/clip_text', folder, { recursive: true });
    const { tensors } = readSafetensors(join(folder, file));
    change(tensors);
    writeSafetensors(join(folder, file), tensors);
    return folder;
  }

  test('fails on a number beyond its tolerance', async () => {
    const folder = changed('outputs.safetensors', (tensors) => void ((tensors.get('pooler_output')!.values as Float32Array)[3] += 0.01));
    assert.deepEqual(await failures(folder), [['pooler_output', undefined]]);
  });

  test('fails on an output that it does not compute, and on one that the fixture does not have', async () => {
    const folder = changed('outputs.safetensors', (tensors) => {
      tensors.set('attention_entropy', tensors.get('pooler_output')!);
      tensors.delete('masked.pooler_output');
    });
    assert.deepEqual(await failures(folder), [
      ['masked.pooler_output', 'not among the stored outputs'],
      ['attention_entropy', 'missing: this project does not compute it'],
    ]);
  });

  test('fails on a NaN, whichever side it is on', async () => {
    const folder = changed('outputs.safetensors', (tensors) => void ((tensors.get('pooler_output')!.values as Float32Array)[0] = NaN));
    assert.deepEqual(await failures(folder), [['pooler_output', 'NaN']]);
    assert.ok(Number.isNaN(largestDifference([NaN, 0], [1, 0])));
    assert.equal(largestDifference([Infinity, 1], [Infinity, 1.5]), 0.5);
  });

  test('fails with the loader’s words on weights that are missing, extra or not finite', async () => {
    const key = 'text_model.final_layer_norm.weight';
    const run = async (change: (tensors: Map<string, StoredTensor>) => void) => (await failures(changed('model.safetensors', change)))[0][1]!;
    assert.match(await run((tensors) => void tensors.delete(key)), /1 missing: text_model\.final_layer_norm\.weight/);
    assert.match(await run((tensors) => void tensors.set('text_model.extra', tensors.get(key)!)), /1 unexpected: text_model\.extra/);
    assert.match(await run((tensors) => void ((tensors.get(key)!.values as Float32Array)[0] = NaN)), /NaN or infinite/);
  });

  test('takes folders of fixtures, passes over files between them, and fails on a folder that it does not know', async () => {
    const known = (fixture: Fixture) => fixture.has('config.json');
    assert.ok(fixtureFolders(['data/fixtures'], known).some(({ name }) => name === 'llama_gqa'));
    assert.deepEqual(fixtureFolders(['data/fixtures/README.md'], known), []);
    assert.throws(() => fixtureFolders(['data/nothing'], known), /does not exist/);
    const folder = mkdtempSync(join(scratch, 'unknown-'));
    writeFileSync(join(folder, 'config.json'), '{"model_type": "t5"}');
    assert.match((await failures(folder))[0][1]!, /no runner knows this fixture/);
  });
});
