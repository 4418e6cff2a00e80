import * as tf from '@tensorflow/tfjs';
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { useBackend } from '../core/backend.js';
import { openSafetensors, writeSafetensors, type TensorSource, type TensorToWrite } from '../core/safetensors.js';
import { loadDream, openDream } from './checkpoint.js';
import { readDreamConfig } from './config.js';
import { queryStates } from './create.js';
import type { Tokenizer } from '../text/tokenizer.js';

const fixture = 'data/fixtures/dreamllm';

/** The fixture as a release is laid out: the language model, and a file for each plugin. */
function release(change: (file: string, tensors: Map<string, TensorToWrite>) => void = () => {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'release-'));
  for (const name of ['config.json', 'clip', 'sd']) cpSync(join(fixture, name), join(folder, name), { recursive: true });
  const source = openSafetensors(join(fixture, 'model.safetensors'));
  const files: Record<string, string> = {
    'clip_vision_embedding.bin': 'model.clip_vision_embedding.',
    'dream_embedding.bin': 'model.dream_embedding.',
    'stable_diffusion_head.bin': 'stable_diffusion_head.',
    'pytorch_model.bin': '',
  };
  const rest = new Set(source.tensors.keys());
  for (const [file, prefix] of Object.entries(files)) {
    const keys = [...rest].filter((key) => key.startsWith(prefix));
    keys.forEach((key) => rest.delete(key));
    const tensors = new Map(keys.map((key): [string, TensorToWrite] => [key.slice(prefix.length), source.read(key)]));
    change(file, tensors);
    writeSafetensors(join(folder, file), tensors);
  }
  source.close();
  return folder;
}

const tokenizer: Tokenizer = { vocabSize: 72, id: () => assert.fail('not asked for'), encode: () => [5, 9, 33], decode: () => '' };

/** States at the queries behind a prompt: the language model, the queries and nothing random. */
async function states(source: TensorSource, options: Parameters<typeof loadDream>[2] = {}): Promise<number[]> {
  const before = tf.memory().numTensors;
  const model = loadDream(source, readDreamConfig(fixture).config, options);
  const found = await queryStates(model, tokenizer, ['x']);
  const values = [...(await found.data())];
  found.dispose();
  if (options.stream) assert.match(model.describeCost()!, /s a pass/);
  model.dispose();
  assert.equal(tf.memory().numTensors, before);
  return values;
}

before(() => useBackend());

describe('a released checkpoint', () => {
  test('is read from its files as from one, in memory or layer by layer', async () => {
    const whole = await states(openSafetensors(join(fixture, 'model.safetensors')));
    const folder = release((file, tensors) => {
      // What older libraries leave in their files.
      if (file === 'pytorch_model.bin') tensors.set('model.layers.0.self_attn.rotary_emb.inv_freq', { dtype: 'F32', shape: [6], values: new Float32Array(6) });
      if (file === 'stable_diffusion_head.bin') {
        for (const [key, tensor] of [...tensors]) {
          const old = key.replace(/^(vae\..*attentions\.\d+\.)to_(q|k|v)\./, (_, start, name) => `${start}${{ q: 'query', k: 'key', v: 'value' }[name as 'q' | 'k' | 'v']}.`).replace(/^(vae\..*attentions\.\d+\.)to_out\.0\./, '$1proj_attn.');
          if (old === key) continue;
          tensors.delete(key);
          tensors.set(old, tensor);
        }
      }
    });
    assert.deepEqual(await states(openDream(folder)), whole);
    assert.deepEqual(await states(openDream(folder), { stream: {} }), whole);
  });

  test('can keep its language model in 16 bits', async () => {
    const whole = await states(openSafetensors(join(fixture, 'model.safetensors')));
    const folder = release();
    const close = await states(openDream(folder), { weights: 'bf16' });
    close.forEach((x, i) => assert.ok(Math.abs(x - whole[i]) < 0.1, `${x} and ${whole[i]}`));
    assert.notDeepEqual(close, whole);
    assert.throws(() => loadDream(openDream(folder), readDreamConfig(folder).config, { weights: 'bf16', stream: {} }), /one of `stream` and `weights`/);
  });

  test('is refused, and what it lacks is named, when a plugin file is missing', () => {
    const folder = release();
    rmSync(join(folder, 'dream_embedding.bin'));
    const source = openDream(folder);
    assert.throws(() => loadDream(source, readDreamConfig(folder).config), /1 missing: model\.dream_embedding\.dream_queries/);
    assert.throws(() => loadDream(openDream(folder), readDreamConfig(folder).config, { stream: {} }), /1 missing: model\.dream_embedding\.dream_queries/);
    source.close();
  });

  test('is refused when a weight stands under a wrong name or in a wrong shape, or is too much', () => {
    const folder = release((file, tensors) => {
      if (file === 'pytorch_model.bin') {
        const norm = tensors.get('model.norm.weight')!;
        tensors.delete('model.norm.weight');
        tensors.set('model.final_norm.weight', norm);
      }
      if (file === 'clip_vision_embedding.bin') {
        const weight = tensors.get('projector.projector.weight')!;
        tensors.set('projector.projector.weight', { ...weight, shape: [...weight.shape].reverse() });
      }
    });
    assert.throws(() => loadDream(openDream(folder), readDreamConfig(folder).config), (error: Error) => {
      assert.match(error.message, /1 missing: model\.norm\.weight/);
      assert.match(error.message, /1 unexpected: model\.final_norm\.weight/);
      assert.match(error.message, /projector\.projector\.weight: expected shape \[48, 32\], found \[32, 48\]/);
      return true;
    });
  });
});

describe('readDreamConfig', () => {
  test('reads special tokens and sizes from the checkpoint', () => {
    const { config, objective } = readDreamConfig(fixture);
    assert.equal(config.tokens.dreamStart, 70);
    assert.deepEqual([config.numDreamQueries, config.imageSize, config.language.hiddenSize], [5, 16, 48]);
    assert.deepEqual(objective.weights, { lm: 1, diffusion: 10 });
  });
});
