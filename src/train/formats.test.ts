import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { useBackend } from '../core/backend.js';
import { flatten, initialize, select } from '../core/params.js';
import { asFloat32, readSafetensors, type StoredTensor } from '../core/safetensors.js';
import type { Source } from '../data/batches.js';
import { pairAt, references } from '../data/captions.js';
import { documentAt } from '../data/documents.js';
import { writeDataset, type Format } from '../data/formats/datasets.js';
import type { PictureStore } from '../data/formats/pictures.js';
import { conversationAt, instructInterleavedAt } from '../data/instructions.js';
import type { TrainingRecord } from '../data/samples.js';
import { board } from '../data/scenes.js';
import { dreamSpec } from '../dreamllm/model.js';
import { preset } from '../dreamllm/presets.js';
import { sha256 } from './files.js';
import { microSettings } from './four-stages.js';
import { train } from './loop.js';
import { fileSources, parseDataOption } from './sources.js';
import { stageNames, type StageName } from './stages.js';
import { loopSettings, stageTask, trainStage } from './train-stage.js';

const count = 6;
const indices = Array.from({ length: count }, (_, i) => i);
const seed = 3;
const split = { split: 'train' } as const;
const temporary = () => mkdtempSync(join(tmpdir(), 'formats-'));

/** Hash of what two steps on `source` leave behind. */
async function weightsAfter(stage: StageName, source: Source<TrainingRecord | Promise<TrainingRecord>>): Promise<string> {
  const settings = microSettings(stage, ['steps=2']);
  const config = { ...preset('micro'), maxTokens: settings.maxTokens };
  const params = initialize(dreamSpec(config), 1);
  const training = await train(stageTask(params, config, 'micro', settings, [source]), loopSettings(settings));
  const hash = sha256([...flatten(params).values()].map((variable) => sha256(new Uint8Array(variable.dataSync().slice().buffer))).join());
  training.dispose();
  tf.dispose(params);
  return hash;
}

describe('training on files', () => {
  before(async () => {
    await useBackend();
  });

  const pairs = () => indices.map((i) => pairAt(seed, i, split));
  /** What each format holds, where its pictures lie, and what the generator gives for it. */
  const cases: [Exclude<Format, 'mmbench'>, PictureStore, () => TrainingRecord[]][] = [
    ['webdataset', 'folder', pairs],
    ['parquet', 'folder', pairs],
    ['coco', 'tar', () => pairs().flatMap(({ scene, image }, i) => references(scene).map((caption, j) => ({ id: `${i}-${j}`, image, caption })))],
    ['mmc4', 'zip', () => indices.map((i) => documentAt(seed, i, split))],
    ['instruct-mmc4', 'tar', () => indices.map((i) => instructInterleavedAt(seed, i, split))],
    ['llava', 'folder', () => indices.map((i) => conversationAt(seed, i, split))],
  ];
  for (const [format, store, generate] of cases) {
    test(`in the format ${format} is training on the generator, to the byte, in every stage`, async () => {
      const files = await writeDataset(format, temporary(), { seed, count, side: board, ...split, store });
      const { sources: [read] } = await fileSources({ data: 1 }, { data: files }, seed);
      const list = generate();
      const generated: Source<TrainingRecord> = { name: 'data', weight: 1, at: (index) => list[index] };
      const ends = new Set<string>();
      for (const stage of stageNames) {
        const end = await weightsAfter(stage, read);
        assert.equal(end, await weightsAfter(stage, generated), stage);
        ends.add(end);
      }
      await read.close();
      assert.equal(ends.size, stageNames.length, 'stages leave different weights');
    });
  }

  test('ends with the moving average where it is asked for, in the file as in the model that is handed back', async () => {
    const run = async (...changes: string[]) => {
      const out = join(temporary(), 'run');
      const { params, artefact } = await trainStage({ preset: 'micro', settings: microSettings('alignment-comprehension', ['steps=4', ...changes]), out, validate: false });
      const [weight] = select(params, ['model.clip_vision_embedding.projector']).values();
      const values = [...weight.dataSync()];
      tf.dispose(params);
      const [saved] = [...readSafetensors(join(out, 'checkpoints/final/model.safetensors')).tensors].find(([key]) => key.startsWith('model.clip_vision_embedding.projector'))!.slice(1) as StoredTensor[];
      assert.deepEqual(values, [...asFloat32(saved.values)]);
      return { values, hash: artefact.hash };
    };
    const [last, average] = [await run(), await run('emaDecay=0.9')];
    assert.notEqual(average.hash, last.hash);
    assert.ok(average.values.every((value, i) => Math.abs(value - last.values[i]) < 0.02)); // an average of steps that small lies near
  });

  test('refuses questions of a benchmark', async () => {
    const files = await writeDataset('mmbench', temporary(), { seed, count, side: board, ...split });
    await assert.rejects(fileSources({ pairs: 1 }, { pairs: files }, seed), /mmbench\.tsv holds questions of a benchmark, which nothing is trained on/);
  });

  test('runs a stage on COCO captions, and says which names lack files', async () => {
    const { file, images } = await writeDataset('coco', temporary(), { seed, count, side: board, ...split, store: 'tar' });
    const [name, files] = parseDataOption(`pairs=coco:${file}:${images}`);
    const settings = microSettings('alignment-comprehension', ['steps=1']);
    const { params } = await trainStage({ preset: 'micro', settings, out: join(temporary(), 'run'), files: { [name]: files } });
    tf.dispose(params);
    const wrong = trainStage({ preset: 'micro', settings, out: join(temporary(), 'run'), files: { other: files } });
    await assert.rejects(wrong, /The stage mixes pairs, and files were given for other/);
    assert.throws(() => parseDataOption('pairs=csv:x'), /unknown format "csv"\. There are llava/);
  });
});
