import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { useBackend } from '../core/backend.js';
import { flatten, initialize } from '../core/params.js';
import type { Source } from '../data/batches.js';
import { pairAt } from '../data/captions.js';
import { documentAt } from '../data/documents.js';
import { readDataset, writeDataset, type Format } from '../data/formats/datasets.js';
import { sourceOf } from '../data/formats/stream.js';
import { conversationAt, instructInterleavedAt } from '../data/instructions.js';
import type { TrainingRecord } from '../data/samples.js';
import { board } from '../data/scenes.js';
import { dreamSpec } from '../dreamllm/model.js';
import { preset } from '../dreamllm/presets.js';
import { sha256 } from './files.js';
import { microSettings } from './four-stages.js';
import { train } from './loop.js';
import { parseDataOption } from './sources.js';
import type { StageName } from './stages.js';
import { loopSettings, stageTask, trainStage } from './train-stage.js';

const count = 6;
const seed = 3;
const split = { split: 'train' } as const;
const temporary = () => mkdtempSync(join(tmpdir(), 'formats-'));

/** Hash of what two steps on `source` leave behind. */
async function weightsAfter(stage: StageName, source: Source<TrainingRecord>): Promise<string> {
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

  const cases: [Format, StageName, (index: number) => TrainingRecord][] = [
    ['webdataset', 'alignment-comprehension', (i) => pairAt(seed, i, split)],
    ['parquet', 'alignment-creation', (i) => pairAt(seed, i, split)],
    ['mmc4', 'i-gpt', (i) => documentAt(seed, i, split)],
    ['instruct-mmc4', 'sft', (i) => instructInterleavedAt(seed, i, split)],
    ['llava', 'sft', (i) => conversationAt(seed, i, split)],
  ];
  for (const [format, stage, recordAt] of cases) {
    test(`in the format ${format} is training on the generator, to the byte (${stage})`, async () => {
      const files = await writeDataset(format, temporary(), { seed, count, side: board, ...split });
      const read = await sourceOf('data', 1, readDataset(files) as AsyncIterable<TrainingRecord>);
      const generated = await sourceOf('data', 1, Array.from({ length: count }, (_, i) => recordAt(i)));
      assert.equal(await weightsAfter(stage, read), await weightsAfter(stage, generated));
    });
  }

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
