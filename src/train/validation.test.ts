import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { useBackend } from '../core/backend.js';
import { initialize } from '../core/params.js';
import { dreamSpec } from '../dreamllm/model.js';
import { preset } from '../dreamllm/presets.js';
import { gradientConflict, layerCosines } from './conflict.js';
import { microSettings } from './four-stages.js';
import { readEvents, type Event } from './run-folder.js';
import { generatedSources } from './sources.js';
import { objectiveOf, stageInputs, tokenizerOf, trainStage } from './train-stage.js';
import { stageValidation } from './validation.js';
import { diffusionVerdict, type Verdict } from './verdict.js';

describe('validation of a stage', () => {
  before(async () => {
    await useBackend();
  });
  const settings = microSettings('i-gpt');
  const config = { ...preset('micro'), maxTokens: settings.maxTokens };

  test('gives the same losses again, and leaves no tensor behind', async () => {
    const params = initialize(dreamSpec(config), 1);
    const validate = stageValidation(params, config, settings, tokenizerOf('micro'))!;
    const first = await validate();
    const before = tf.memory().numTensors;
    assert.deepEqual(await validate(), first);
    assert.equal(tf.memory().numTensors, before);
    assert.ok(first.valLm > 5 && first.valDiffusion0 > 0 && 'conflict.layers.1' in first);
    tf.dispose(params);
  });

  test('knows gradients that agree, oppose each other and have nothing in common, whatever their lengths', async () => {
    const gradients = (...layers: number[][]) => new Map(layers.map((values, i) => [`model.layers.${i}.mlp.up_proj.weight`, tf.tensor1d(values)]));
    const cosines = await layerCosines(gradients([1, 2], [1, 0], [3, 0], [0, 0]), gradients([10, 20], [-2, 0], [0, 5], [1, 1]));
    const expected = { 'layers.0': 1, 'layers.1': -1, 'layers.2': 0, 'layers.3': 0, layers: (50 - 2) / Math.sqrt(15 * 531) };
    assert.deepEqual([...cosines.keys()].sort(), Object.keys(expected).sort());
    for (const [group, cosine] of Object.entries(expected)) assert.ok(Math.abs(cosines.get(group)! - cosine) < 1e-6, `${group}: ${cosines.get(group)}`);
  });

  test('measures how the gradients of both losses lie to each other in every layer', async () => {
    const params = initialize(dreamSpec(config), 1);
    const objective = objectiveOf(settings);
    const records = generatedSources({ documents: 1 }, 3).flatMap((source) => [source.at(0), source.at(1)]);
    const { batch, draws } = await stageInputs(records, { params, config, settings, tokenizer: tokenizerOf('micro'), objective, path: ['test'] });
    const cosines = await gradientConflict(params, config, batch, draws!, objective);
    assert.deepEqual(Object.keys(cosines).sort(), ['conflict.layers', 'conflict.layers.0', 'conflict.layers.1']);
    for (const cosine of Object.values(cosines)) assert.ok(Math.abs(cosine) < 1);
    tf.dispose([params, batch, draws] as unknown as tf.TensorContainer);
  });
});

describe('the verdict on the image loss', () => {
  const evaluation = (step: number, ...bins: number[]): Event => ({
    type: 'evaluation',
    time: 0,
    step,
    valDiffusion: bins.reduce((a, b) => a + b) / bins.length,
    ...Object.fromEntries(bins.map((value, i) => [`valDiffusion${i * 250}`, value])),
  });

  test('is that it learns when it falls at most noise levels', () => {
    const verdict = diffusionVerdict([evaluation(9, 1, 0.5, 0.3, 0.1), evaluation(19, 0.9, 0.45, 0.27, 0.101)])!;
    assert.equal(verdict.isLearning, true);
    assert.ok(Math.abs(verdict.changes[0] + 0.1) < 1e-9);
    assert.match(verdict.text, /^The image loss is learning: -9\.4 % between step 10 and 20 \(from time step 0 -10\.0 %/);
  });

  test('is spoken at the end of a stage, from before its first step on: it learns at a learning rate, and not at 0', async () => {
    const verdictOf = async (peak: number, steps: number) => {
      const base = microSettings('alignment-creation', [`steps=${steps}`]);
      const out = join(mkdtempSync(join(tmpdir(), 'verdict-')), 'run');
      const { params } = await trainStage({ preset: 'micro', settings: { ...base, schedule: { ...base.schedule, peak }, evaluateEvery: steps }, out });
      tf.dispose(params);
      const evaluations = readEvents(out).filter(({ type }) => type === 'evaluation');
      assert.deepEqual(evaluations.map(({ step, before }) => [step, before]), [[0, true], [steps - 1, undefined]]);
      return (JSON.parse(readFileSync(join(out, 'result.json'), 'utf8')) as { verdict: Verdict }).verdict;
    };
    const learning = await verdictOf(0.02, 10);
    assert.equal(learning.isLearning, true, learning.text);
    assert.match(learning.text, /^The image loss is learning: -\d+\.\d % between step 0 and 10 /);
    const idle = await verdictOf(0, 2);
    assert.equal(idle.isLearning, false, idle.text);
    assert.deepEqual(Object.values(idle.changes), [0, 0, 0, 0]);
  });

  test('is that it does not when one level alone falls, or when there is one evaluation', () => {
    assert.equal(diffusionVerdict([evaluation(0, 1, 0.5, 0.3, 0.1), evaluation(9, 0.8, 0.51, 0.31, 0.11)])?.isLearning, false);
    assert.equal(diffusionVerdict([evaluation(0, 1, 1, 1, 1)]), undefined);
  });
});
