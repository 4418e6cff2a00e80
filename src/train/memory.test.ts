import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import type { DreamBackend } from '../core/engine/dream-backend.js';
import { useTestEngine } from '../core/engine/test-backends.js';
import { loadWasm } from '../core/engine/wasm.js';
import { requireRoom, roomForTensors } from '../core/memory.js';
import { valueAndGrads } from '../core/ops/index.js';
import { initialize, normal, param } from '../core/params.js';
import { dreamSpec } from '../dreamllm/model.js';
import { preset } from '../dreamllm/presets.js';
import { microSettings } from './four-stages.js';
import { generatedSources } from './sources.js';
import { estimateStage, stageTask } from './train-stage.js';

const GIBIBYTE = 2 ** 30;

describe('when memory does not suffice, on WebAssembly', () => {
  before(() => useTestEngine({ name: 'wasm-full', load: () => loadWasm(1) }));
  const settings = microSettings('i-gpt', ['microBatchSize=4']);
  const config = { ...preset('micro'), maxTokens: settings.maxTokens };

  test('a model that cannot fit is refused before anything is made, with the remedy', () => {
    const { numTensors } = tf.memory();
    const large = { a: param([1024, 1024], normal(1)), b: param([1024, 1024, 1024], normal(1)) };
    assert.throws(() => initialize(large, 0), /^Error: The parameters need 4\.00 GiB and at most [23]\.\d\d GiB are left in the WebAssembly engine, which has 4 GiB at most\. Take a smaller model or batch, or the native engine/);
    assert.equal(tf.memory().numTensors, numTensors);
  });

  test('a stage that cannot fit is refused before its weights are read', async () => {
    const language = { ...config.language, vocabSize: 8_000_000 }; // the embedding and the head are large then
    await assert.rejects(
      estimateStage({ preset: 'micro', settings, config: { ...config, language } }),
      /^Error: Parameters, optimizer state and gradients of i-gpt need \d.*GiB and at most [23]\.\d\d GiB are left/,
    );
  });

  test('a step for which too little is left is an error with the remedy, leaves no tensor, and can be taken again', async () => {
    const params = initialize(dreamSpec(config), 1);
    const task = stageTask(params, config, 'micro', settings, generatedSources(settings.data, settings.seed));
    const { inputs } = await task.batch(0, 0);
    const step = () => {
      const { value, grads } = valueAndGrads(() => task.loss(inputs).loss, task.trainable, { allowUnused: task.allowUnused });
      const numbers = [value, ...grads.values()].map((tensor) => tensor.dataSync());
      tf.dispose([value, ...grads.values()]);
      return numbers;
    };
    const wanted = step();
    const { numTensors } = tf.memory();

    const { pool } = tf.backend() as DreamBackend;
    const ballast: ReturnType<typeof pool.take>[] = [];
    for (let bytes = GIBIBYTE; bytes >= 2 ** 16; ) {
      try {
        ballast.push(pool.take(bytes));
      } catch {
        bytes /= 2;
      }
    }
    assert.ok(roomForTensors()! < 8 * 2 ** 20, `${roomForTensors()} bytes are left`);
    for (let i = 0; i < 3; i++) assert.throws(step, /The WebAssembly engine has 409\d of at most 4096 MiB in use and was asked for \d+\.\d more\. Use a smaller batch or model, or the native engine/);
    assert.equal(tf.memory().numTensors, numTensors);

    for (const block of ballast) pool.give(block);
    assert.deepEqual(step(), wanted);
    tf.dispose([params, inputs] as never);
  });
});

test('memory that suffices is not refused', () => {
  requireRoom(10, 'Ten bytes', 10);
  assert.throws(() => requireRoom(11 * GIBIBYTE, 'The parameters', 2.5 * GIBIBYTE), /The parameters need 11 GiB and at most 2\.50 GiB are left/);
});
