import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { unpackTar } from 'modern-tar';
import { mmbench, rotations } from '../benchmarks.js';
import { pairAt, references } from '../captions.js';
import { documentAt } from '../documents.js';
import { loadImage, readImage } from '../images.js';
import { conversationAt, instructInterleavedAt } from '../instructions.js';
import { toSample, type TrainingRecord } from '../samples.js';
import { nanoTokenizer } from '../tokenizer.js';
import type { ImageRef, InterleavedDocument, Question } from '../types.js';
import { closeArchives, openArchive } from './archive.js';
import { readCoco } from './coco.js';
import { formats, picturesOf, readDataset, writeDataset, type DatasetFiles, type Format } from './datasets.js';
import { Intake, MalformedRecord } from './intake.js';
import { readLlava } from './llava.js';
import { readMmbenchTsv } from './mmbench-tsv.js';
import { filterBySimilarity, readMmc4 } from './mmc4.js';
import { readParquetPairs } from './parquet.js';
import { makeTar } from './pictures.js';
import { collect, shard, shuffleBuffer, streamSource } from './stream.js';
import { readWebdataset } from './webdataset.js';
import { makeZip, openZip } from './zip.js';

const folder = mkdtempSync(join(tmpdir(), 'dreamllm-formats-'));
after(() => {
  closeArchives();
  rmSync(folder, { recursive: true });
});
const write = (name: string, text: string | Uint8Array): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const options = { seed: 4, count: 12, split: 'train', side: 32 } as const;
const indices = Array.from({ length: options.count }, (_, i) => i);
const same = (name: string): ImageRef => name;

/** What the generator gives for each format: records and, beside them, their pictures. */
const generated: Record<Format, () => (TrainingRecord | Question)[]> = {
  llava: () => indices.map((i) => conversationAt(4, i, { split: 'train' })),
  mmc4: () => indices.map((i) => documentAt(4, i, { split: 'train' })),
  'instruct-mmc4': () => indices.map((i) => instructInterleavedAt(4, i, { split: 'train' })),
  coco: () => indices.map((i) => pairAt(4, i, { split: 'train' })).flatMap(({ scene, image }, i) => references(scene).map((caption, j) => ({ id: `${i}-${j}`, image, caption }))),
  webdataset: () => indices.map((i) => pairAt(4, i, { split: 'train' })),
  parquet: () => indices.map((i) => pairAt(4, i, { split: 'train' })),
  mmbench: () => mmbench(4, { split: 'train', perAbility: 1 }).flatMap(rotations),
};

/** A record without its pictures and what only the generator knows. */
function words(record: TrainingRecord | Question): unknown {
  const { image: _image, images: _images, kind: _kind, scene: _scene, image_info, ...rest } = record as unknown as Record<string, unknown>;
  return { ...rest, ...(image_info ? { image_info: (image_info as { image_name: string }[]).map(({ image_name: _name, ...info }) => info) } : {}) };
}

describe('the emoji world, written and read back', () => {
  for (const format of formats) {
    test(`equals the generator in ${format}: every word and every pixel`, async () => {
      const files = await writeDataset(format, join(folder, format), options);
      const read = await collect(readDataset(files));
      const expected = generated[format]();
      assert.deepEqual(read.map(words), expected.map(words));
      for (const [i, record] of read.entries()) {
        const [got, want] = [picturesOf(record), picturesOf(expected[i])];
        assert.equal(got.length, want.length);
        for (const [j, ref] of got.entries()) assert.deepEqual(Buffer.from(await readImage(ref)), Buffer.from(loadImage(want[j])));
      }
    });
  }

  test('lays out as the generator does, so that training from files equals training from the generator', async () => {
    const tokenizer = nanoTokenizer();
    const ids = { unk: '<unk>', bos: '<s>', eos: '</s>', pad: '[PAD]', image: '<image>', dream: '<dream>', imStart: '<im_start>', imPatch: '<im_patch>', imEnd: '<im_end>', dreamStart: '<dream_start>', dreamEnd: '<dream_end>' };
    const tokens = Object.fromEntries(Object.entries(ids).map(([name, token]) => [name, tokenizer.id(token)])) as Record<keyof typeof ids, number>;
    const config = { tokens, numDreamQueries: 4, numImagePatches: 16, maxTokens: 200 };
    const layOut = (record: TrainingRecord) => {
      const { images, dreamImages, ...sequence } = toSample(record, (text) => tokenizer.encode(text), config, { mode: 'joint', seed: 9 });
      return { ...sequence, images: images.length, dreamImages: dreamImages.length };
    };
    for (const format of ['llava', 'mmc4', 'instruct-mmc4', 'coco', 'webdataset', 'parquet'] as const) {
      const files = await writeDataset(format, join(folder, `layout-${format}`), options);
      const read = (await collect(readDataset(files))) as TrainingRecord[];
      assert.deepEqual(read.map(layOut), (generated[format]() as TrainingRecord[]).map(layOut));
    }
  });

  test('finds its pictures in a tar and in a zip as in a folder', async () => {
    const pixels = async (files: DatasetFiles) => {
      const records = (await collect(readDataset(files))) as TrainingRecord[];
      return Promise.all(records.flatMap(picturesOf).map((ref) => readImage(ref)));
    };
    const [plain, tar, zip] = await Promise.all((['folder', 'tar', 'zip'] as const).map((store) => writeDataset('mmc4', join(folder, `store-${store}`), { ...options, store })));
    assert.match(tar.images!, /\.tar$/);
    assert.match(zip.images!, /\.zip$/);
    const expected = await pixels(plain);
    assert.deepEqual(await pixels(tar), expected);
    assert.deepEqual(await pixels(zip), expected);
  });

  test('gives the same bytes when it is written again', async () => {
    for (const format of ['webdataset', 'parquet', 'mmbench'] as const) {
      const [a, b] = await Promise.all([1, 2].map((n) => writeDataset(format, join(folder, `again-${n}-${format}`), options)));
      const file = (path: string) => readFileSync(format === 'webdataset' ? join(path, '00000.tar') : path);
      assert.ok(file(a.file).equals(file(b.file)), format);
    }
  });
});

describe('a malformed record', () => {
  const document = '{"text_list":["a cat."],"image_info":[{"image_name":"1.png","matched_text_index":0}]}';

  test('stops the reading and names file, line and reason', async () => {
    const cases: [string, RegExp][] = [
      ['{"text_list":["a"],"image_info":[{"image_name":"1.png","matched_text_index":1}]}', /bad\.jsonl:2: image_info\[0\]\.matched_text_index: expected a whole number below 1, found 1/],
      ['{"text_list":["a", 3],"image_info":[]}', /bad\.jsonl:2: text_list\[1\]: expected text, found 3/],
      ['{"text_list":["a"]', /bad\.jsonl:2: not JSON/],
      ['{"image_info":[]}', /bad\.jsonl:2: text_list: expected a list, found nothing/],
      ['{"text_list":["a"],"image_info":[{"image_name":"1.png","matched_text_index":0,"matched_sim":7}]}', /matched_sim: expected a cosine, found 7/],
      ['{"text_list":["a"],"image_info":[],"similarity_matrix":[[1]]}', /expected 0 rows, one for each picture, found 1/],
    ];
    for (const [line, message] of cases) {
      const file = write('bad.jsonl', `${document}\n${line}\n${document}\n`);
      await assert.rejects(collect(readMmc4(file, same)), (error: Error) => error instanceof MalformedRecord && message.test(error.message));
    }
  });

  test('is skipped and counted up to the share that was allowed, and no further', async () => {
    const file = write('some.jsonl', `${`${document}\n`.repeat(19)}{"broken"\n`);
    const intake = new Intake({ skipUpTo: 0.05 });
    assert.equal((await collect(readMmc4(file, same, intake))).length, 19);
    assert.deepEqual(intake.problems.map(({ place }) => place.line), [20]);
    await assert.rejects(collect(readMmc4(file, same, new Intake({ skipUpTo: 0.04 }))), /1 of 20 records are malformed \(5\.0 %\), more than the 4\.0 %.*some\.jsonl:20/);
  });

  test('of a long broken file is found after a hundred records, not at the end', async () => {
    const file = write('rotten.jsonl', '{"broken"\n'.repeat(5000));
    const intake = new Intake({ skipUpTo: 0.5 });
    await assert.rejects(collect(readMmc4(file, same, intake)), /100 of 100/);
    assert.equal(intake.problems.length, 100);
  });

  test('of LLaVA names the line within the JSON list on which it begins', async () => {
    const good = '{"id":"1","image":"a.png","conversations":[{"from":"human","value":"<image>\\nwhat is this? [ { \\" "},{"from":"gpt","value":"a cat"}]}';
    const file = write('bad.json', `[\n${good},\n{"id":"2",\n"conversations":[{"from":"gpt","value":"hi"},{"from":"gpt","value":"hi"}]},\n${good}]\n`);
    await assert.rejects(collect(readLlava(file, same)), /bad\.json:3: turn 1: expected human, found gpt/);
    const intake = new Intake({ skipUpTo: 0.5 });
    assert.equal((await collect(readLlava(file, same, intake))).length, 2);
    const marks = write('marks.json', '[{"id":"1","conversations":[{"from":"human","value":"<image> what?"},{"from":"gpt","value":"a cat"}]}]');
    await assert.rejects(collect(readLlava(marks, same)), /marks\.json:1: 1 place-holders <image> and <dream>, but 0 pictures/);
    const open = write('open.json', '[{"id":"1","conversations":[{"from":"human","value":"hi"},{"from":"gpt","value":"hi"},{"from":"human","value":"bye"}]}]');
    await assert.rejects(collect(readLlava(open, same)), /open\.json:1: the last question has no answer/);
    await assert.rejects(collect(readLlava(write('absent.json', `[${good}]`), () => undefined)), /absent\.json:1: picture "a\.png" is missing/);
    await assert.rejects(collect(readLlava(write('cut.json', `[${good},`), same)), /cut off/);
    await assert.rejects(collect(readLlava(write('object.json', '{"id":1}'), same)), /object\.json:1: expected a JSON list, found "{"/);
  });

  test('of COCO names its place in the lists', () => {
    const file = (annotations: unknown[]) => write('coco.json', JSON.stringify({ images: [{ id: 1, file_name: 'a.png', width: 4, height: 4 }], annotations, categories: [{ id: 1, name: 'cat' }] }));
    assert.throws(() => readCoco(file([{ image_id: 1, caption: 'a' }, { image_id: 2, caption: 'b' }]), same), /coco\.json \(annotations\[1\]\): image_id 2 is not among the pictures/);
    assert.throws(() => readCoco(file([{ image_id: 1, category_id: 1, bbox: [0, 0, -1, 1] }]), same), /bbox: expected \[x, y, width, height\]/);
    assert.throws(() => readCoco(file([{ image_id: 1, category_id: 9, bbox: [0, 0, 1, 1] }]), same), /category_id 9 is not among the categories/);
  });

  test('of MMBench names its row and index', async () => {
    const header = 'index\tquestion\thint\tA\tB\tC\tD\tanswer\tcategory\timage\tl2-category\tsplit';
    const row = (index: string, answer: string, b = 'dog') => `${index}\twhat?\t\tcat\t${b}\t\t\t${answer}\tocr\tAAAA\tx\tdev`;
    const read = (...rows: string[]) => readMmbenchTsv(write('q.tsv', `${[header, ...rows].join('\n')}\n`));
    assert.equal((await read(row('0', 'A'), row('1', 'B'))).length, 2);
    await assert.rejects(read(row('0', 'A'), row('1', 'C')), /q\.tsv \(row 2, index 1\): answer "C" is none of the 2 options/);
    await assert.rejects(read(row('0', 'A'), row('0', 'A')), /index 0 is given twice/);
    await assert.rejects(read(row('x', 'A')), /expected a whole number as index, found "x"/);
    await assert.rejects(read(row('0', 'A', '')), /at least the options A and B, found 1/);
    await assert.rejects(readMmbenchTsv(join(folder, 'none.tsv')), /ENOENT/);
  });

  test('of a webdataset names shard and sample; a cut shard is no shard', async () => {
    const bytes = (text: string) => new TextEncoder().encode(text);
    const shardFile = write('s.tar', await makeTar([{ name: '0.png', bytes: bytes('x') }, { name: '0.txt', bytes: bytes('a cat') }, { name: '1.txt', bytes: bytes('no picture') }]));
    assert.throws(() => [...readWebdataset([shardFile])], /s\.tar \(1\): no picture among \.txt/);
    const intake = new Intake({ skipUpTo: 0.5 });
    assert.deepEqual([...readWebdataset([shardFile], intake)].map(({ caption }) => caption), ['a cat']);
    truncateSync(shardFile, 1100);
    assert.throws(() => [...readWebdataset([shardFile])], /s\.tar \(byte 1024\): the archive is cut off/);
    const noise = write('noise.tar', new Uint8Array(2048).fill(65));
    assert.throws(() => [...readWebdataset([noise])], /noise\.tar \(byte 0\): not a tar, or damaged/);
  });

  test('is what a damaged archive ends with: the records before it are read, and it is counted', async () => {
    const shards = await writeDataset('webdataset', join(folder, 'cut-shard'), options);
    truncateSync(join(shards.file, '00000.tar'), Math.floor(statSync(join(shards.file, '00000.tar')).size / 2));
    const jsonl = await writeDataset('mmc4', join(folder, 'cut-gz'), options);
    const zipped = gzipSync(readFileSync(jsonl.file), { level: 0 }); // stored, so that what is there can be read up to the cut
    const gz = write('cut.jsonl.gz', zipped.subarray(0, zipped.length / 2));
    const llava = await writeDataset('llava', join(folder, 'cut-json'), options);
    truncateSync(llava.file, Math.floor(statSync(llava.file).size / 2));
    const cases: [DatasetFiles, RegExp][] = [
      [shards, /00000\.tar \(byte \d+\): the archive is cut off/],
      [{ ...jsonl, file: gz }, /cut\.jsonl\.gz:\d+: (cannot be unpacked|not JSON)/],
      [llava, /llava\.json:\d+: the file ends inside the list/],
    ];
    for (const [files, message] of cases) {
      await assert.rejects(collect(readDataset(files)), (error: Error) => error instanceof MalformedRecord && message.test(error.message), files.format);
      const intake = new Intake({ skipUpTo: 0.5 });
      const read = await collect(readDataset(files, intake));
      assert.ok(read.length >= 4 && read.length < options.count, `${files.format}: ${read.length}`);
      assert.ok(intake.problems.some((problem) => message.test(problem.message)));
    }
  });

  test('of parquet: rows that cannot be unpacked are named and counted', async () => {
    const { file } = await writeDataset('parquet', join(folder, 'spoilt-parquet'), { ...options, count: 40 });
    const bytes = readFileSync(file);
    bytes.fill(0xff, 4, 2000); // the first page, behind the four bytes of magic
    writeFileSync(file, bytes);
    await assert.rejects(collect(readParquetPairs(file)), /pairs\.parquet \(row 0\): rows 0 to 39 cannot be unpacked/);
    await assert.rejects(collect(readParquetPairs(file, new Intake({ skipUpTo: 0.5 }))), /40 of 40 records are malformed/);
  });

  test('of parquet: a cut file and a table without captions are refused', async () => {
    const { file } = await writeDataset('parquet', join(folder, 'cut-parquet'), options);
    truncateSync(file, 500);
    await assert.rejects(collect(readParquetPairs(file)), /pairs\.parquet is not a parquet file, or it was cut off/);
  });
});

describe('archives', () => {
  test('are the same tar for another library, with long names', async () => {
    const name = `${'a'.repeat(90)}/${'b'.repeat(120)}/c.png`;
    const files = [{ name, bytes: Uint8Array.of(1, 2, 3) }, { name: 'x.txt', bytes: new Uint8Array(700).fill(7) }];
    const tar = write('long.tar', await makeTar(files));
    const archive = openArchive(tar);
    assert.deepEqual(archive.names, files.map((each) => each.name));
    for (const each of files) assert.deepEqual(new Uint8Array(archive.read(each.name)), each.bytes);
    archive.close();
    assert.deepEqual((await unpackTar(readFileSync(tar))).map(({ header }) => header.name), files.map((each) => each.name));
  });

  test('notice a flipped byte in a zip and name the entry', () => {
    const zip = makeZip([{ name: 'a.txt', bytes: Uint8Array.of(1, 2, 3, 4) }]);
    zip[30 + 5 + 1] ^= 1;
    const archive = openZip(write('flip.zip', zip));
    assert.throws(() => archive.read('a.txt'), /"a\.txt" is damaged/);
    archive.close();
    assert.throws(() => openZip(write('no.zip', 'not a zip at all')), /is not a zip/);
  });

  test('say which picture is missing or does not decode', async () => {
    write('broken.png', 'no picture');
    await assert.rejects(readImage(join(folder, 'absent.png')), /absent\.png/);
    await assert.rejects(readImage(join(folder, 'broken.png')), /broken\.png is not a picture/);
    const tar = write('one.tar', await makeTar([{ name: 'a.png', bytes: Uint8Array.of(1) }]));
    await assert.rejects(readImage(`${tar}!/b.png`), /one\.tar has no file "b\.png"/);
  });

  test('may lack pictures of MMC4, which are left out and counted, and hold others under another ending', async () => {
    await makeTar([{ name: 'a.jpg', bytes: Uint8Array.of(1) }]).then((bytes) => write('web.tar', bytes));
    const info = (image_name: string) => ({ image_name, matched_text_index: 0 });
    const file = write('web.jsonl', `${JSON.stringify({ text_list: ['a cat.'], image_info: [info('a.png'), info('gone.png')], similarity_matrix: [[0.5], [0.1]] })}\n`);
    const intake = new Intake();
    const [record] = await collect(readDataset({ format: 'mmc4', file, images: join(folder, 'web.tar') }, intake));
    assert.deepEqual(picturesOf(record), [`${join(folder, 'web.tar')}!/a.jpg`]);
    assert.deepEqual((record as InterleavedDocument).similarity_matrix, [[0.5]]);
    assert.deepEqual(intake.missing, [`${file}:1: gone.png`]);
  });

  test('hold MMC4 documents gzipped and zipped as they are published', async () => {
    const line = '{"text_list":["a cat."],"image_info":[]}\n';
    for (const file of [write('d.jsonl.gz', gzipSync(line)), write('d.jsonl.zip', makeZip([{ name: 'd.jsonl', bytes: new TextEncoder().encode(line) }]))]) {
      assert.deepEqual((await collect(readMmc4(file, same)))[0].text_list, ['a cat.']);
    }
  });
});

describe('streams', () => {
  const count = (n: number) => Array.from({ length: n }, (_, i) => i);

  test('are divided among workers without loss or repetition', async () => {
    const parts = await Promise.all([0, 1, 2].map((worker) => collect(shard(count(100), worker, 3))));
    assert.deepEqual(parts.flat().sort((a, b) => a - b), count(100));
    await assert.rejects(collect(shard(count(1), 3, 3)), /worker below 3, found 3/);
  });

  test('leave a shuffle buffer complete, mixed, and the same for the same seed', async () => {
    const mixed = await collect(shuffleBuffer(count(500), 50, 1));
    assert.deepEqual([...mixed].sort((a, b) => a - b), count(500));
    assert.notDeepEqual(mixed, count(500));
    assert.deepEqual(await collect(shuffleBuffer(count(500), 50, 1)), mixed);
    assert.notDeepEqual(await collect(shuffleBuffer(count(500), 50, 2)), mixed);
    // No record leaves before it came.
    mixed.forEach((value, position) => assert.ok(value <= position + 50));
  });

  /** A source of 30 numbers, and how many of them were read. */
  const numbers = (records = 30) => {
    const read = { count: 0, open: 0 };
    const stream = async function* () {
      read.open++;
      try {
        for (const number of count(30)) {
          read.count++;
          yield number;
        }
      } finally {
        read.open--;
      }
    };
    return { read, source: streamSource('numbers', 1, records, (pass) => shuffleBuffer(stream(), 8, 1, pass)) };
  };

  test('become sources that are gone through once in each pass, in another order, and read once where they are asked one after the other', async () => {
    const { read, source } = numbers();
    const passes = [];
    for (const pass of [0, 1, 2]) passes.push(await Promise.all(count(30).map((i) => source.at(30 * pass + i))));
    for (const pass of passes) assert.deepEqual([...pass].sort((a, b) => a - b), count(30));
    assert.notDeepEqual(passes[0], passes[1]);
    assert.notDeepEqual(passes[1], passes[2]);
    assert.deepEqual(read, { count: 90, open: 0 });
  });

  test('give the same record for an index wherever the reading begins, and are closed', async () => {
    const whole = numbers().source;
    const all: number[] = [];
    for (const i of count(70)) all.push(await whole.at(i));
    const { read, source } = numbers();
    for (const i of [47, 48, 49, 3, 3, 65, 29, 30]) assert.equal(await source.at(i), all[i], `record ${i}`);
    assert.equal(read.open, 1);
    await source.close();
    assert.equal(read.open, 0);
  });

  test('that are empty or have changed since they were counted are refused', async () => {
    assert.throws(() => numbers(0), /"numbers" has no records/);
    await assert.rejects(numbers(31).source.at(30), /expected 31 records in pass 1, found 30\. Leave the files as they are/);
    await assert.rejects(numbers(29).source.at(28), /expected 29 records in pass 1, found more/);
  });

  test('of MMC4 keep the pictures at or above the similarity that is asked', () => {
    const info = (matched_sim: number) => ({ image_name: 'a', matched_text_index: 0, matched_sim });
    const kept = filterBySimilarity({ id: '1', text_list: ['a'], image_info: [info(0.2), info(0.25), info(0.3)], similarity_matrix: [[0.2], [0.25], [0.3]] }, 0.25);
    assert.deepEqual(kept?.image_info.map(({ matched_sim }) => matched_sim), [0.25, 0.3]);
    assert.deepEqual(kept?.similarity_matrix, [[0.25], [0.3]]);
    assert.equal(filterBySimilarity({ id: '1', text_list: ['a'], image_info: [info(0.1)] }, 0.25), undefined);
  });
});
