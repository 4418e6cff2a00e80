import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { mmbench, type BenchmarkOptions } from '../benchmarks.js';
import { pairAt, references } from '../captions.js';
import { documentAt } from '../documents.js';
import { readImage } from '../images.js';
import { conversationAt, instructInterleavedAt } from '../instructions.js';
import type { TrainingRecord } from '../samples.js';
import type { ImageRef, Question } from '../types.js';
import { openArchive, referenceTo } from './archive.js';
import { readCoco, writeCoco } from './coco.js';
import { Intake, MalformedRecord, type ResolvePicture } from './intake.js';
import { readLlava, writeLlava } from './llava.js';
import { readMmbenchTsv, writeMmbenchTsv } from './mmbench-tsv.js';
import { readInstructMmc4, readMmc4, writeMmc4 } from './mmc4.js';
import { readParquetPairs, writeParquetPairs } from './parquet.js';
import { pngOf, writePictures, type NamedBytes, type PictureStore } from './pictures.js';
import { readWebdataset, writeWebdataset } from './webdataset.js';

/** The formats that data sets of this field come in. */
export const formats = ['llava', 'mmc4', 'instruct-mmc4', 'coco', 'webdataset', 'parquet', 'mmbench'] as const;
export type Format = (typeof formats)[number];

export interface DatasetFiles {
  format: Format;
  /** The file of records; for a webdataset the shard, or the folder of shards. */
  file: string;
  /** Folder, tar or zip of the pictures, where the format keeps them apart. The folder of `file` by default. */
  images?: string;
}

/** Records of a data set in its own order, one at a time. A COCO picture gives one pair for each caption; MMBench gives questions. */
export async function* readDataset({ format, file, images }: DatasetFiles, intake = new Intake()): AsyncGenerator<TrainingRecord | Question> {
  const resolve = () => resolver(images ?? dirname(file));
  switch (format) {
    case 'llava':
      return yield* readLlava(file, resolve(), intake);
    case 'mmc4':
      return yield* readMmc4(file, resolve(), intake);
    case 'instruct-mmc4':
      return yield* readInstructMmc4(file, resolve(), intake);
    case 'coco':
      for (const { id, image, captions } of readCoco(file, resolve(), intake)) for (const [i, caption] of captions.entries()) yield { id: `${id}-${i}`, image, caption };
      return;
    case 'webdataset':
      return yield* readWebdataset(shardsOf(file), intake);
    case 'parquet':
      return yield* readParquetPairs(file, intake);
    case 'mmbench':
      return yield* await readMmbenchTsv(file, intake);
  }
}

/**
 * Records of a data set, those left out of which a picture cannot be decoded: that counts as a malformed record, and `onBroken` hears its number, from 1.
 * `onPicture` is called for each picture that can. Without `decodePictures` it is `readDataset`.
 */
export async function* readChecked(
  files: DatasetFiles, intake: Intake, { decodePictures, onPicture, onBroken }: { decodePictures: boolean; onPicture?: () => void; onBroken?: (record: number) => void },
): AsyncGenerator<TrainingRecord | Question> {
  let count = 0;
  for await (const record of readDataset(files, intake)) {
    count++;
    const broken = decodePictures ? await firstBrokenPicture(record, onPicture) : undefined;
    if (broken === undefined) {
      yield record;
      continue;
    }
    intake.recant(new MalformedRecord({ file: files.file, member: `record ${count}` }, broken));
    onBroken?.(count);
  }
  if (decodePictures) intake.finish(); // the reader's own verdict came before its last record was looked at
}

/** Why the first picture that cannot be decoded cannot. */
async function firstBrokenPicture(record: TrainingRecord | Question, onPicture?: () => void): Promise<string | undefined> {
  for (const ref of picturesOf(record)) {
    try {
      await readImage(ref);
      onPicture?.();
    } catch (error) {
      return (error as Error).message;
    }
  }
  return undefined;
}

/**
 * Finds pictures by name in a folder, tar or zip. A name that is not there is tried with the endings that downloaders give (MMC4 stores
 * `a.png` as `a.jpg`).
 */
function resolver(images: string): ResolvePicture {
  if (!existsSync(images)) throw new Error(`${images} does not exist. Expected the folder, .tar or .zip that holds the pictures.`);
  const has = statSync(images).isDirectory() ? (name: string) => isFileIn(images, name) : namesIn(images);
  return (name) => {
    const stem = name.replace(/\.[^./]*$/, '');
    const found = [name, `${stem}.jpg`, `${stem}.png`, `${stem}.webp`].find(has);
    return found === undefined ? undefined : referenceTo(images, found);
  };
}

/** Asked of the file system each time: a folder may hold more names than fit into memory. Names that lead out of it are none of its. */
const isFileIn = (folder: string, name: string): boolean => !name.split(/[\\/]/).includes('..') && statSync(join(folder, name), { throwIfNoEntry: false })?.isFile() === true;

function namesIn(file: string): (name: string) => boolean {
  const archive = openArchive(file);
  archive.close();
  const names = new Set(archive.names);
  return (name) => names.has(name);
}

function shardsOf(path: string): string[] {
  if (!existsSync(path)) throw new Error(`${path} does not exist. Expected a .tar shard or a folder of them.`);
  if (!statSync(path).isDirectory()) return [path];
  const shards = readdirSync(path).filter((name) => name.endsWith('.tar')).sort().map((name) => join(path, name));
  if (shards.length === 0) throw new Error(`${path} holds no .tar shards.`);
  return shards;
}

export interface WriteOptions extends BenchmarkOptions {
  seed: number;
  /** Side of the pictures in pixels. */
  side: number;
  /** Where pictures go, for formats that keep them apart. */
  store?: PictureStore;
}

/** Writes `count` records of the emoji world into `folder` in a real format. Reading the result gives the generator's records and pixels. */
export async function writeDataset(format: Format, folder: string, { seed, count, side, store = 'folder', ...scenes }: WriteOptions): Promise<DatasetFiles> {
  mkdirSync(folder, { recursive: true });
  const indices = Array.from({ length: count }, (_, i) => i);
  const file = (name: string) => join(folder, name);
  const pictures = new PictureNames();
  const finish = async (records: string): Promise<DatasetFiles> => ({ format, file: records, images: await writePictures(file('images'), store, await pictures.encode(side)) });
  const pairs = async function* () {
    for (const i of indices) {
      const { scene: _scene, ...pair } = pairAt(seed, i, scenes);
      yield { pair, png: await pngOf(pair.image, side) };
    }
  };
  switch (format) {
    case 'llava':
      writeLlava(file('llava.json'), indices.map((i) => conversationAt(seed, i, scenes)), pictures.name);
      return finish(file('llava.json'));
    case 'mmc4':
      writeMmc4(file('mmc4.jsonl'), indices.map((i) => withoutKind(documentAt(seed, i, scenes))), pictures.name);
      return finish(file('mmc4.jsonl'));
    case 'instruct-mmc4':
      writeMmc4(file('instruct-mmc4.jsonl'), indices.map((i) => withoutKind(instructInterleavedAt(seed, i, scenes))), pictures.name);
      return finish(file('instruct-mmc4.jsonl'));
    case 'coco': {
      const images = indices.map((i) => pairAt(seed, i, scenes)).map(({ scene, image }) => ({ scene, captions: references(scene), fileName: pictures.name(image) }));
      writeCoco(file('captions.json'), file('instances.json'), images, side);
      return finish(file('captions.json'));
    }
    case 'webdataset':
      await writeWebdataset(folder, pairs());
      return { format, file: folder };
    case 'parquet': {
      const samples = [];
      for await (const sample of pairs()) samples.push(sample);
      writeParquetPairs(file('pairs.parquet'), samples);
      return { format, file: file('pairs.parquet') };
    }
    case 'mmbench': {
      const questions = mmbench(seed, { ...scenes, perAbility: Math.max(1, Math.round(count / 20)) });
      await writeMmbenchTsv(file('mmbench.tsv'), questions, (ref) => pngOf(ref, side));
      return { format, file: file('mmbench.tsv') };
    }
  }
}

const withoutKind = <T extends { kind: string }>({ kind: _kind, ...record }: T): Omit<T, 'kind'> => record;

/** Gives each generated picture a file name, and the same picture the same one. */
class PictureNames {
  private readonly names = new Map<ImageRef, string>();

  name = (ref: ImageRef): string => {
    let name = this.names.get(ref);
    if (!name) this.names.set(ref, (name = `${String(this.names.size).padStart(8, '0')}.png`));
    return name;
  };

  async encode(side: number): Promise<NamedBytes[]> {
    const files: NamedBytes[] = [];
    for (const [ref, name] of this.names) files.push({ name, bytes: await pngOf(ref, side) });
    return files;
  }
}

/** Every picture of a record. */
export function picturesOf(record: TrainingRecord | Question): ImageRef[] {
  if ('image' in record) return [record.image];
  if ('images' in record) return record.images;
  return record.image_info.map(({ image_name }) => image_name);
}

