import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { closeArchives, readReference } from '../data/formats/archive.js';
import { writeDataset, type DatasetFiles, type Format } from '../data/formats/datasets.js';
import { readParquetPairs, writeParquetPairs } from '../data/formats/parquet.js';
import { collect } from '../data/formats/stream.js';
import { readEvents } from '../train/run-folder.js';
import { UsageError } from './command.js';
import command from './train.js';
import { runner } from './testing.js';

const folder = mkdtempSync(join(tmpdir(), 'dreamllm-train-'));
after(() => {
  closeArchives();
  rmSync(folder, { recursive: true });
});

let count = 0;
/** Trains micro for a step by the command line. Returns the run folder. */
async function train(stage: string, ...argv: string[]): Promise<string> {
  const out = join(folder, `run-${count++}`);
  await run(stage, '--preset', 'micro', '--out', out, '--set', 'steps=1', ...argv);
  return out;
}

const run = runner(command);

const replaceLine = (file: string, line: number, text: string) => writeFileSync(file, readFileSync(file, 'utf8').split('\n').map((each, i) => (i === line - 1 ? text : each)).join('\n'));

describe('dreamllm train', () => {
  /** Each format with one record spoilt, and the message that names its place. */
  const cases: [Format, stage: string, name: string, spoil: (files: DatasetFiles) => void | Promise<void>, message: RegExp][] = [
    ['llava', 'sft', 'conversations', ({ file }) => writeFileSync(file, readFileSync(file, 'utf8').replace('"from":"human"', '"from":"robot"')), /llava\.json:\d+: turn 0: expected from "human" or "gpt", found "robot"/],
    ['mmc4', 'i-gpt', 'documents', ({ file }) => replaceLine(file, 3, '{"text_list": 1}'), /mmc4\.jsonl:3: text_list: expected a list, found 1/],
    ['instruct-mmc4', 'sft', 'instruct-documents', ({ file }) => replaceLine(file, 2, '{"text_list": []'), /instruct-mmc4\.jsonl:2: not JSON/],
    ['coco', 'alignment-comprehension', 'pairs', ({ file }) => writeFileSync(file, readFileSync(file, 'utf8').replace('"image_id":0', '"image_id":"none"')), /captions\.json \(annotations\[0\]\): image_id: expected a number, found "none"/],
    ['webdataset', 'alignment-creation', 'pairs', ({ file }) => truncateSync(join(file, '00000.tar'), statSync(join(file, '00000.tar')).size - 4000), /00000\.tar \(byte \d+\): the archive is cut off/],
    ['parquet', 'alignment-creation', 'pairs', ({ file }) => spoilPicture(file), /pairs\.parquet \(record \d+\): .* is not a picture/],
  ];
  for (const [format, stage, name, spoil, message] of cases) {
    test(`stops at a malformed record of ${format} and names its place, or skips up to the share that it was given`, async () => {
      const files = await writeDataset(format, join(folder, format), { seed: 5, count: 12, side: 32, split: 'train' });
      await spoil(files);
      const data = ['--data', `${name}=${format}:${files.file}${files.images ? `:${files.images}` : ''}`, '--set', 'microBatchSize=12'];
      // A picture in parquet is looked at when it is drawn, unless what is broken is to be skipped.
      await assert.rejects(train(stage, ...data), format === 'parquet' ? /is not a picture/ : message);
      await assert.rejects(train(stage, ...data, '--skip-up-to', '0.001'), /records are malformed .* more than the 0\.1 % to be skipped\. First: /);
      const out = await train(stage, ...data, '--skip-up-to', '0.3');
      const report = readEvents(out).find(({ type }) => type === 'data')!;
      assert.equal(report.source, name);
      assert.ok((report.skipped as number) >= 1 && (report.skipped as number) <= 2 && (report.records as number) >= 10, JSON.stringify(report));
      assert.match((report.first as string[]).join('\n'), message);
      assert.ok(existsSync(join(out, 'checkpoints/final')));
    });
  }

  test('validates on held-out files', async () => {
    const { file, images } = await writeDataset('llava', join(folder, 'held-out'), { seed: 6, count: 6, side: 32, split: 'val' });
    const data = `conversations=llava:${file}:${images}`;
    const out = await train('sft', '--data', data, '--held-out', data);
    const evaluation = readEvents(out).find(({ type }) => type === 'evaluation');
    assert.ok((evaluation?.valLm as number) > 0 && (evaluation?.valLoss as number) >= (evaluation?.valLm as number), JSON.stringify(evaluation));
  });

  test('reads files shuffled and in shards, and keeps to that when it goes on', async () => {
    const { file, images } = await writeDataset('mmc4', join(folder, 'shards'), { seed: 6, count: 9, side: 32, split: 'train' });
    const data = ['--data', `documents=mmc4:${file}:${images}`];
    const out = await train('i-gpt', ...data, '--shuffle', '4', '--shard', '2/2', '--set', 'parents=[]');
    assert.equal(readEvents(out).find(({ type }) => type === 'data')?.records, 4);
    const again = run('i-gpt', '--preset', 'micro', '--out', out, '--set', 'steps=1', ...data, '--shuffle', '5', '--shard', '2/2', '--set', 'parents=[]', '--resume');
    await assert.rejects(again, /started with other settings:\n {2}shuffle: 4 there, 5 now/);
  });

  test('says what a training would take without starting it, also of a model that is not here', async () => {
    const estimate = JSON.parse(await run('alignment-creation', '--preset', 'micro', '--dry-run', '--json')) as Record<string, number>;
    assert.ok(estimate.secondsPerStep > 0 && estimate.peakBytes > estimate.stepBytes && estimate.trainable < estimate.parameters);
    assert.match(await run('sft', '--preset', 'dreamllm-7b', '--recipe', 'paper', '--dry-run'), /352 steps of 1,024 samples/);
  });

  test('refuses what it does not know', async () => {
    const wrong: [string[], RegExp][] = [
      [['stage-two', '--out', folder], /Unknown stage "stage-two"/],
      [['sft'], /--out DIR is missing/],
      [['sft', '--out', folder, '--skip-up-to', '1'], /--skip-up-to: expected a share of 0 to 1, found "1"/],
      [['sft', '--out', folder, '--data', 'a=mmc4:b', '--shuffle', '0'], /--shuffle: expected a number of records, such as 1000, found "0"/],
      [['sft', '--out', folder, '--data', 'a=mmc4:b', '--shard', '3/2'], /--shard: expected I\/N with I from 1 to N, such as 1\/4, found "3\/2"/],
      [['sft', '--out', folder, '--shuffle', '100'], /there is no --data/],
      [['sft', '--out', folder, '--set', 'emaDecay=2'], /emaDecay: expected a number between 0 and 1/],
    ];
    for (const [argv, message] of wrong) await assert.rejects(run(...argv), (error: Error) => error instanceof UsageError && message.test(error.message), argv.join(' '));
  });
});

/** Writes a parquet file anew with a third picture that is none. */
async function spoilPicture(file: string): Promise<void> {
  const pairs = await collect(readParquetPairs(file));
  writeParquetPairs(file, pairs.map((pair, i) => ({ pair, png: i === 2 ? Buffer.from('no picture') : readReference(pair.image) })));
}
