import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as tf from '@tensorflow/tfjs';
import { useBackend } from '../core/backend.js';
import { siblingModule } from '../core/process.js';
import { mixture } from '../data/batches.js';
import { writeDataset, type DatasetFiles } from '../data/formats/datasets.js';
import type { StreamSource } from '../data/formats/stream.js';
import type { TrainingRecord } from '../data/samples.js';
import { board } from '../data/scenes.js';
import { microSettings } from './four-stages.js';
import { readEvents } from './run-folder.js';
import { fileSources, generatedSources } from './sources.js';
import { trainStage, type TrainStageOptions } from './train-stage.js';

const count = 20;
const seed = 3;
const temporary = () => mkdtempSync(join(tmpdir(), 'sources-'));
const write = (format: 'mmc4' | 'webdataset') => writeDataset(format, temporary(), { seed, count, side: board, split: 'train' });

/** Writes over one line, and over the picture of another record. */
function spoil({ file, images }: DatasetFiles): void {
  const lines = readFileSync(file, 'utf8').split('\n');
  const { image_info } = JSON.parse(lines[9]) as { image_info: { image_name: string }[] };
  const others = lines.filter((line, i) => i !== 9 && line.includes(image_info[0].image_name));
  assert.deepEqual(others, [], 'another record has the same picture');
  lines[4] = '{"text_list": 1}';
  writeFileSync(file, lines.join('\n'));
  writeFileSync(join(images!, image_info[0].image_name), 'no picture');
}

async function idsOf(source: StreamSource<TrainingRecord>, from: number, to: number): Promise<string[]> {
  const ids = [];
  for (let i = from; i < to; i++) ids.push((await source.at(i)).id);
  return ids;
}

const sorted = (ids: readonly string[]) => [...ids].sort();

describe('training data from files', () => {
  before(async () => {
    await useBackend();
  });

  test('are drawn in the order and the proportions of the generator', async () => {
    const data = { documents: 7, pairs: 10 };
    const { sources } = await fileSources(data, { documents: await write('mmc4'), pairs: await write('webdataset') }, seed);
    const ids = async (records: (TrainingRecord | Promise<TrainingRecord>)[]) => (await Promise.all(records)).map(({ id }) => id);
    assert.deepEqual(await ids(mixture(sources, seed).batch(0, 30)), await ids(mixture(generatedSources(data, seed), seed).batch(0, 30)));
    for (const source of sources) await source.close();
  });

  test('give each record once in each pass, in another order where they are shuffled', async () => {
    const files = { documents: await write('mmc4') };
    const { sources: [inOrder] } = await fileSources({ documents: 1 }, files, seed);
    const order = await idsOf(inOrder, 0, count);
    assert.deepEqual(await idsOf(inOrder, count, 2 * count), order);
    const { sources: [shuffled] } = await fileSources({ documents: 1 }, files, seed, { shuffle: 6 });
    const passes = [await idsOf(shuffled, 0, count), await idsOf(shuffled, count, 2 * count)];
    for (const pass of passes) assert.deepEqual(sorted(pass), sorted(order));
    assert.notDeepEqual(passes[0], order);
    assert.notDeepEqual(passes[1], passes[0]);
    const { sources: [other] } = await fileSources({ documents: 1 }, files, seed + 1, { shuffle: 6 });
    assert.notDeepEqual(await idsOf(other, 0, count), passes[0]);
    const parts = [];
    for (const index of [0, 1, 2]) {
      const { sources: [part], reports } = await fileSources({ documents: 1 }, files, seed, { shuffle: 6, shard: { index, count: 3 } });
      assert.equal(reports[0].records, [7, 7, 6][index]);
      parts.push(await idsOf(part, 0, part.records));
    }
    assert.deepEqual(sorted(parts.flat()), sorted(order));
    for (const source of [inOrder, shuffled, other]) await source.close();
  });

  test('leave out the same malformed records in each pass, and count them once', async () => {
    const files = await write('mmc4');
    const whole = (await fileSources({ documents: 1 }, { documents: files }, seed)).sources[0];
    const expected = (await idsOf(whole, 0, count)).filter((_, i) => i !== 4 && i !== 9);
    spoil(files);
    // Two of twenty: counted again in a second pass they would be more than the share.
    const { sources: [source], reports } = await fileSources({ documents: 1 }, { documents: files }, seed, { malformed: { skipUpTo: 0.1 } });
    for (const pass of [0, 1, 2]) assert.deepEqual(await idsOf(source, pass * 18, pass * 18 + 18), expected);
    assert.deepEqual({ ...reports[0], first: reports[0].first.length }, { source: 'documents', records: 18, skipped: 2, missing: 0, first: 2 });
    await assert.rejects(fileSources({ documents: 1 }, { documents: files }, seed, { malformed: { skipUpTo: 0.09 } }), /2 of 20 records are malformed/);
  });

  test('take no more memory the more records there are', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const file = join(temporary(), 'many.jsonl');
    const [records, length] = [20_000, 1000];
    writeFileSync(file, Array.from({ length: records }, (_, i) => `{"text_list":["${String(i).padEnd(length, 'x')}"],"image_info":[]}\n`).join(''));
    const used = () => {
      collect();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    const start = used();
    const { sources: [source] } = await fileSources({ documents: 1 }, { documents: { format: 'mmc4', file } }, seed, { shuffle: 100 });
    const heights = [];
    for (let i = 0; i < 1.5 * records; i++) {
      await source.at(i);
      if (i % 5000 === 2500) heights.push(used() - start);
    }
    assert.ok(Math.max(...heights) < 0.2 * records * length, `${heights} bytes`); // all records are 20 MB and more
    assert.equal(heights.length, 6);
    await source.close();
  });

  test('lead to the same weights when the training is killed in a later pass, through shuffle buffer, shard and skipped records', { timeout: 240_000 }, async () => {
    const files = await write('mmc4');
    spoil(files);
    const settings = { ...microSettings('i-gpt', ['steps=14', 'checkpointEvery=3']), parents: [], data: { documents: 1 } };
    const reading = { malformed: { skipUpTo: 0.2 }, shuffle: 5, shard: { index: 1, count: 2 } }; // 9 records a pass, 2 a step
    const options = (out: string): TrainStageOptions => ({ preset: 'micro', settings, out, files: { documents: files }, reading });
    const ended = async (out: string, resume: boolean) => {
      const { params, artefact } = await trainStage({ ...options(out), resume });
      tf.dispose(params);
      return artefact.hash;
    };
    const whole = join(temporary(), 'run');
    const expected = await ended(whole, false);

    const out = join(temporary(), 'run');
    const steps = () => (existsSync(out) ? readEvents(out).filter(({ type }) => type === 'step').length : 0);
    const run = spawn(process.execPath, [...process.execArgv, siblingModule(import.meta.url, './stage.process'), JSON.stringify(options(out))], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    run.stderr.on('data', (text: Buffer) => (said += text));
    const exit = new Promise((resolve) => run.once('exit', (_, signal) => resolve(signal)));
    while (steps() < 8) {
      assert.equal(run.exitCode, null, said);
      await sleep(2);
    }
    run.kill('SIGKILL');
    assert.equal(await exit, 'SIGKILL', said);
    assert.equal(await ended(out, true), expected);
    const events = readEvents(out);
    assert.ok(events.some(({ type, step }) => type === 'resume' && step! >= 6), 'it went on from the second pass');
    assert.ok(events.filter(({ type }) => type === 'data').every(({ records, skipped }) => records === 9 && skipped === 2));
    const losses = (path: string) => readEvents(path).filter(({ type }) => type === 'step').map(({ loss }) => loss);
    assert.deepEqual(losses(out), losses(whole));

    // With other records in the files their order would be another one.
    writeFileSync(files.file, readFileSync(files.file, 'utf8').split('\n').slice(0, 15).join('\n'));
    await assert.rejects(ended(out, true), /documents: the run began with 9 records and 2 skipped, and its files now hold 6 and 2\. Put the files back/);
  });
});
