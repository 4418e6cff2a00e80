import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { useBackend } from '../../core/backend.js';
import { flatten, initialize } from '../../core/params.js';
import { nanoTokenizer } from '../../data/tokenizer.js';
import { nano } from '../../dreamllm/presets.js';
import { clipSpec, type ClipConfig } from '../../models/clip/index.js';
import { llamaSpec, type LlamaConfig } from '../../models/llama/index.js';
import { Training, trainStep } from '../loop.js';
import { adamwDefaults } from '../optimizer.js';
import { warmupConstant } from '../schedules.js';
import { clipReadingPart } from './clip-reading.js';

const layers = { intermediateSize: 32, numLayers: 2, numHeads: 2, normEps: 1e-5, activation: 'quickGelu' } as const;
const clip: ClipConfig = {
  vision: { ...layers, imageSize: 16, patchSize: 8, hiddenSize: 16 },
  text: { ...layers, vocabSize: nano.language.vocabSize, maxPositions: 32, hiddenSize: 16, endToken: nano.tokens.eos },
  projectionSize: 8,
  logitScale: Math.log(10),
};
const language: LlamaConfig = { ...nano.language, hiddenSize: 16, intermediateSize: 32, numLayers: 1, numHeads: 2, numKvHeads: 2 };
const settings = {
  steps: 8, batchSize: 8, schedule: warmupConstant(1e-2, 0), optimizer: adamwDefaults, maxGradNorm: 1, seed: 1, checkpointEvery: 8, evaluateEvery: 8, words: { from: 4 }, accumulation: 1, keepLast: 1,
};

describe('the part that makes the picture tower legible', () => {
  before(() => useBackend());
  const [params, reader] = [initialize(clipSpec(clip), 1, 'clip'), initialize(llamaSpec(language), 1, 'reader')];
  const part = clipReadingPart(params, clip, { params: reader, config: language }, nanoTokenizer(), settings);
  after(() => part.dispose());

  test('lowers its losses, and changes neither the text tower nor the language model', async () => {
    const frozen = new Map([...flatten(params, 'clip'), ...flatten(reader, 'reader')].filter(([key]) => !part.task.trainable.has(key.replace(/^clip\./, ''))));
    assert.ok([...frozen.keys()].some((key) => key.startsWith('clip.text_model')) && [...frozen.keys()].some((key) => key.startsWith('reader.')));
    const kept = new Map([...frozen].map(([key, value]) => [key, value.dataSync().slice()]));
    const earlier = await part.evaluate();
    const training = new Training(part.task, settings);
    const steps: Record<string, number>[] = [];
    for (; training.step < settings.steps; training.step++) steps.push(await trainStep(training));
    training.dispose();
    const later = await part.evaluate();
    for (const axis of ['cell', 'composition', 'concept']) assert.ok(later[`${axis}Reading`] < earlier[`${axis}Reading`], `${axis}: ${earlier[`${axis}Reading`]} to ${later[`${axis}Reading`]}`);
    assert.ok(steps.every(({ loss, contrast, reading, naming, words = 0 }) => Math.abs(loss - contrast - reading - naming - words) < 1e-4));
    assert.deepEqual(steps.map((step) => 'words' in step), steps.map((_, i) => i >= 4));
    for (const [key, value] of frozen) assert.deepEqual(value.dataSync(), kept.get(key), key);
  });

  test('asks for two artists\' pictures and scenes, named by the step alone', async () => {
    const [first, again, other] = [await part.task.batch(3, 0), await part.task.batch(3, 0), await part.task.batch(4, 0)];
    assert.equal(first.ids.length, settings.batchSize);
    assert.deepEqual(first.ids, again.ids);
    assert.notDeepEqual(first.ids, other.ids);
    for (const { inputs } of [first, again, other]) for (const value of Object.values(inputs as object).flatMap((each) => (each.dispose ? [each] : Object.values(each)))) (value as { dispose(): void }).dispose();
  });
});
