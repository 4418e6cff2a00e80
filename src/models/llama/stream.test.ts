import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { saveParams } from '../../core/checkpoint.js';
import { initialize } from '../../core/params.js';
import { embedTokens, greedy, layersWithin, llama7b, llamaDecoder, llamaSpec, llamaStates, padLeft, StreamedLlama, type LlamaConfig } from './index.js';

const tiny: LlamaConfig = {
  vocabSize: 11, hiddenSize: 8, intermediateSize: 12, numLayers: 3, numHeads: 2, numKvHeads: 2, maxPositions: 32, normEps: 1e-5, ropeTheta: 10000, ropeScaling: 1,
};

describe('StreamedLlama', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'stream-'));
  const file = join(scratch, 'model.safetensors');
  const params = initialize(llamaSpec(tiny), 0);
  const ids = [[1, 2, 3, 4]];
  before(async () => {
    await tf.setBackend('cpu');
    saveParams(file, params);
  });
  after(() => rmSync(scratch, { recursive: true }));

  test('has the states of the model in memory, and continues a prompt as it does', async () => {
    const streamed = new StreamedLlama(file, tiny);
    const embeds = tf.tidy(() => embedTokens(params, tf.tensor2d(ids, undefined, 'int32')));
    const states = await streamed.states(embeds);
    assert.deepEqual(states.dataSync(), tf.tidy(() => llamaStates(params, embeds, tiny).dataSync().slice()));
    const decoder = streamed.decoder({ ids });
    const resident = llamaDecoder(params, tiny, { ids });
    assert.deepEqual(await greedy(decoder, { maxNewTokens: 5 }), await greedy(resident, { maxNewTokens: 5 }));
    decoder.dispose();
    resident.dispose();
    tf.dispose([embeds, states]);
    streamed.dispose();
  });

  test('minds padding as the model in memory does, and keeps nothing of it', async () => {
    const { ids, mask } = padLeft([[1, 2], [3, 4, 5]], 0);
    const streamed = new StreamedLlama(file, tiny);
    const tensors = tf.memory().numTensors;
    const [a, b] = [streamed.decoder({ ids }, mask), llamaDecoder(params, tiny, { ids }, mask)];
    assert.deepEqual(await greedy(a, { maxNewTokens: 4 }), await greedy(b, { maxNewTokens: 4 }));
    a.dispose();
    b.dispose();
    assert.equal(tf.memory().numTensors, tensors);
    streamed.dispose();
  });

  test('holds one layer at a time, or as many as it may, and keeps nothing when disposed', async () => {
    const tensors = tf.memory().numTensors;
    for (const residentLayers of [0, 2]) {
      const held: number[] = [];
      const streamed = new StreamedLlama(file, tiny, { residentLayers, onLayer: () => held.push(tf.memory().numTensors) });
      const embeds = streamed.embed(tf.tensor2d(ids, undefined, 'int32'));
      (await streamed.states(embeds)).dispose();
      assert.deepEqual(held.map((count) => count - held[0]), [0, residentLayers === 2 ? 9 : 0, residentLayers === 2 ? 9 : 0]);
      const first = streamed.cost.bytesRead;
      (await streamed.states(embeds)).dispose();
      assert.equal(streamed.cost.bytesRead, (first * (3 - residentLayers)) / 3);
      assert.match(streamed.describeCost(), /^\d+\.\d s a pass, \d+\.\d s of them reading \d+\.\d GB/);
      embeds.dispose();
      streamed.dispose();
    }
    assert.ok(tf.memory().numTensors - tensors <= 2, 'only the ids made here');
  });

  test('stops between layers when it is told to', async () => {
    const controller = new AbortController();
    const streamed = new StreamedLlama(file, tiny, { signal: controller.signal, onLayer: () => controller.abort(new Error('enough')) });
    const embeds = tf.zeros<tf.Rank.R3>([1, 2, 8]);
    const tensors = tf.memory().numTensors;
    await assert.rejects(streamed.states(embeds), /enough/);
    assert.equal(tf.memory().numTensors, tensors);
    embeds.dispose();
    streamed.dispose();
  });

  test('knows how many layers fit into memory', () => {
    const gigabytes = 1e9;
    assert.equal(layersWithin(2 * gigabytes, llama7b()), 0);
    assert.equal(layersWithin(22 * gigabytes, llama7b()), 24); // 1.05 GB of embeddings and head, 0.81 GB a layer
    assert.equal(layersWithin(64 * gigabytes, llama7b()), 32);
  });

  test('refuses a checkpoint of another size before reading it', () => {
    assert.throws(() => new StreamedLlama(file, { ...tiny, numLayers: 4 }), /does not hold this LLaMA: model\.layers\.3\.self_attn\.q_proj\.weight is missing/);
    assert.throws(() => new StreamedLlama(file, { ...tiny, intermediateSize: 16 }), /expected shape \[16, 8\], found \[12, 8\]/);
  });
});
