import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { useBackend } from '../core/backend.js';
import { initialize, select } from '../core/params.js';
import { packageRoot } from '../core/process.js';
import { dreamSpec } from '../dreamllm/model.js';
import { dreamllm7b, preset } from '../dreamllm/presets.js';
import { describeEstimate, estimateFactors, probe, stageSizes } from './estimate.js';
import { microSettings } from './four-stages.js';
import { train } from './loop.js';
import { stageSettings } from './overrides.js';
import { readEvents } from './run-folder.js';
import { generatedSources } from './sources.js';
import { paper } from './stages.js';
import { loopSettings, stageTask } from './train-stage.js';

/** Milliseconds that this process has computed: other programs of the machine do not count. */
function computed(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

describe('the estimate before a training', () => {
  before(async () => {
    await useBackend();
  });
  const settings = microSettings('i-gpt', ['steps=12', 'microBatchSize=4', 'accumulation=2']);
  const config = { ...preset('micro'), maxTokens: settings.maxTokens };

  test('counts what the model and its optimizer hold', () => {
    const before = tf.memory().numBytes;
    const params = initialize(dreamSpec(config), 1);
    const trained = [...select(params, settings.trainable).values()].reduce((sum, { size }) => sum + size, 0);
    const sizes = stageSizes(config, { ...settings, emaDecay: 0.9 });
    assert.equal(sizes.trainable, trained);
    assert.equal(sizes.stateBytes, 3 * 4 * trained);
    assert.equal(sizes.parameterBytes, tf.memory().numBytes - before);
    tf.dispose(params);
  });

  test('tells the size of a model that is not here', () => {
    const sft = stageSettings(paper.sft);
    const sizes = stageSizes(dreamllm7b, sft);
    assert.ok(sizes.parameters > 7.9e9 && sizes.parameters < 8.1e9);
    assert.match(describeEstimate(sft, sizes), /352 steps of 1,024 samples, 6,7\d\d,\d{3},\d{3} of 7,9\d\d,\d{3},\d{3} parameters train\.\nMemory: 30 GiB parameters, 50 GiB optimizer state, 25 GiB gradients/);
  });

  test('leaves every bit of the parameters and no tensor behind, and gives the time that steps then take', async () => {
    const params = initialize(dreamSpec(config), 1);
    const task = stageTask(params, config, 'micro', settings, generatedSources(settings.data, settings.seed));
    const bytes = () => Buffer.concat([...task.trainable.values()].map((variable) => Buffer.from(new Uint8Array(variable.dataSync().slice().buffer))));
    const before = { bytes: bytes(), tensors: tf.memory().numTensors };
    await probe(task, loopSettings(settings)); // fills caches
    assert.ok(bytes().equals(before.bytes));
    const tensors = tf.memory().numTensors;
    const { secondsPerStep, stepBytes } = await probe(task, loopSettings(settings), computed);
    assert.equal(tf.memory().numTensors, tensors);
    assert.ok(stepBytes > 2 ** 20);

    const start = computed();
    (await train(task, loopSettings(settings))).dispose();
    const taken = (computed() - start) / 1000;
    const ratio = taken / (secondsPerStep * 12);
    assert.ok(ratio < estimateFactors.seconds && ratio > 1 / estimateFactors.seconds, `estimated ${secondsPerStep * 12} s, taken ${taken} s`);
    tf.dispose(params);
  });

  test('gives the memory that a process then takes, activations included', { timeout: 240_000 }, () => {
    const root = mkdtempSync(join(tmpdir(), 'estimate-'));
    const found = ['4', '96'].map((size) => {
      const out = join(root, size);
      const command = ['train', 'i-gpt', '--preset', 'micro', '--out', out, '--set', 'steps=3', '--set', `microBatchSize=${size}`];
      execFileSync(process.execPath, [...process.execArgv, join(packageRoot(), 'src/cli/main.ts'), ...command], { stdio: 'pipe' });
      const { peakBytes: estimated, stepBytes } = readEvents(out).find(({ type }) => type === 'estimate') as unknown as { peakBytes: number; stepBytes: number };
      const { residentBytes } = JSON.parse(readFileSync(join(out, 'result.json'), 'utf8')) as { residentBytes: number };
      const ratio = residentBytes / estimated;
      assert.ok(ratio < estimateFactors.memory && ratio > 1 / estimateFactors.memory, `batches of ${size}: estimated ${estimated}, taken ${residentBytes}`);
      return stepBytes;
    });
    // More samples at once, more memory. That of the whole process is mostly the engine's, and differs from run to run.
    assert.ok(found[1] > 4 * found[0], found.join(', '));
  });
});
