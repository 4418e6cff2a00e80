import type { Source } from '../data/batches.js';
import { pairAt } from '../data/captions.js';
import { documentAt, longDocuments } from '../data/documents.js';
import { formats, readChecked, readDataset, type DatasetFiles, type Format } from '../data/formats/datasets.js';
import { Intake, type MalformedPolicy } from '../data/formats/intake.js';
import { shard, shuffleBuffer, streamSource, type StreamSource } from '../data/formats/stream.js';
import { conversationAt, instructInterleavedAt } from '../data/instructions.js';
import type { TrainingRecord } from '../data/samples.js';
import { contextConversationAt } from '../data/subjects.js';

/** The endless lists of the emoji world, by the names that nano's stages mix them under. */
const generators: Record<string, (seed: number, index: number) => TrainingRecord> = {
  pairs: (seed, index) => pairAt(seed, index, { split: 'train' }),
  'creation-pairs': (seed, index) => ({ ...pairAt(seed, index, { split: 'train' }), direction: 'draw' }),
  // Noise of the web: a picture with the caption of another one.
  'mismatched-pairs': (seed, index) => ({ ...pairAt(seed, index, { split: 'train' }), caption: pairAt(seed, index + 1, { split: 'train' }).caption }),
  documents: (seed, index) => documentAt(seed, index, { split: 'train' }),
  // As many pictures as the context holds with few queries; nano's own documents have two or three.
  'long-documents': (seed, index) => documentAt(seed, index, { split: 'train', ...longDocuments }),
  conversations: (seed, index) => conversationAt(seed, index, { split: 'train' }),
  'instruct-documents': (seed, index) => instructInterleavedAt(seed, index, { split: 'train' }),
  'long-instruct-documents': (seed, index) => instructInterleavedAt(seed, index, { split: 'train', ...longDocuments }),
  recolors: (seed, index) => contextConversationAt('recolor', seed, index, { split: 'train' }),
  subjects: (seed, index) => contextConversationAt('subject', seed, index, { split: 'train' }),
};

/** The sources that a stage's data names, generated from a seed. */
export function generatedSources(data: Readonly<Record<string, number>>, seed: number): Source<TrainingRecord>[] {
  return Object.entries(data).map(([name, weight]) => {
    const at = generators[name];
    if (!at) throw new Error(`No data set "${name}" is generated here; there are ${Object.keys(generators).join(', ')}. Name the files that hold it with --data.`);
    return { name, weight, at: (index) => at(seed, index) };
  });
}

/** How files are read. */
export interface FileReading {
  /** What happens to malformed records. Default: the first one stops. */
  malformed?: MalformedPolicy;
  /** Records in the buffer through which each pass is shuffled. Default: 1, which keeps the order of the files. */
  shuffle?: number;
  /** Only every `count`-th record, from the `index`-th on (from 0). Default: all. */
  shard?: { index: number; count: number };
}

/** What reading the files of a source found. */
export interface SourceReport {
  source: string;
  /** Of a pass; of the shard, where there are several. */
  records: number;
  /** Malformed records that were skipped, and pictures that the format lets a record go on without; the first of them by place. */
  skipped: number;
  missing: number;
  first: string[];
}

const shownProblems = 5;

export const describeReport = ({ source, records, skipped, missing, first }: SourceReport): string =>
  [`${source}: ${records} records${skipped ? `, ${skipped} malformed skipped` : ''}${missing ? `, ${missing} pictures missing` : ''}.`, ...first.map((each) => `  ${each}`)].join('\n');

/**
 * The sources that a stage's data names, read from files while the training goes on: memory holds the shuffle buffer alone. Every name needs its files, and the other way
 * round. The order is a function of seed and pass. Beforehand the files are read once, to count records and those to skip; where malformed records may be skipped, every picture
 * is decoded at that. So which sample a step sees does not depend on what is found out later, and later passes count nothing again. Close the sources after use.
 */
export async function fileSources(
  data: Readonly<Record<string, number>>, files: Readonly<Record<string, DatasetFiles>>, seed: number,
  { malformed = 'stop', shuffle = 1, shard: { index, count } = { index: 0, count: 1 } }: FileReading = {},
): Promise<{ sources: StreamSource<TrainingRecord>[]; reports: SourceReport[] }> {
  const [wanted, given] = [Object.keys(data).sort().join(', '), Object.keys(files).sort().join(', ')];
  if (wanted !== given) throw new Error(`The stage mixes ${wanted}, and files were given for ${given}. Give --data for each, and --set data.NAME=SIZE for a name of your own.`);
  const [sources, reports]: [StreamSource<TrainingRecord>[], SourceReport[]] = [[], []];
  for (const [name, each] of Object.entries(files)) {
    const intake = new Intake(malformed, shownProblems);
    const broken = new Set<number>();
    let total = 0;
    for await (const _ of checkedRecords(each, intake, malformed !== 'stop', (record) => broken.add(record))) total++;
    const source = streamSource(name, data[name], Math.ceil((total - index) / count), (pass) =>
      shuffleBuffer(shard(without(broken, readDataset(each, new Intake(malformed, 1)) as AsyncGenerator<TrainingRecord>), index, count), shuffle, seed, name, pass),
    );
    sources.push(source);
    const first = [...intake.problems.map(({ message }) => message), ...intake.missing.map((picture) => `missing: ${picture}`)].slice(0, shownProblems);
    reports.push({ source: name, records: source.records, skipped: intake.rejected, missing: intake.numMissing, first });
  }
  return { sources, reports };
}

/** The records of a stream but those of the given numbers, from 1. */
async function* without<T>(numbers: ReadonlySet<number>, records: AsyncIterable<T>): AsyncGenerator<T> {
  let number = 0;
  for await (const record of records) if (!numbers.has(++number)) yield record;
}

/** Held-out records for validation: the first few of each file, as many as of each kind that is generated. */
export async function heldOutRecords(files: Readonly<Record<string, DatasetFiles>>, ofEach = 4): Promise<TrainingRecord[]> {
  const records: TrainingRecord[] = [];
  for (const each of Object.values(files)) {
    let left = ofEach;
    for await (const record of checkedRecords(each, new Intake(), true)) {
      records.push(record);
      if (--left === 0) break;
    }
  }
  return records;
}

function checkedRecords(files: DatasetFiles, intake: Intake, decodePictures: boolean, onBroken?: (record: number) => void): AsyncIterable<TrainingRecord> {
  if (files.format === 'mmbench') throw new Error(`${files.file} holds questions of a benchmark, which nothing is trained on.`);
  return readChecked(files, intake, { decodePictures, onBroken }) as AsyncIterable<TrainingRecord>;
}

/** Reads `NAME=FORMAT:FILE` or `NAME=FORMAT:FILE:IMAGES`. */
export function parseDataOption(text: string): [name: string, files: DatasetFiles] {
  const [, name, format, file, images] = /^([\w.-]+)=([\w-]+):([^:]+)(?::(.+))?$/.exec(text) ?? [];
  if (!name) throw new Error(`"${text}": expected NAME=FORMAT:FILE or NAME=FORMAT:FILE:IMAGES, such as pairs=webdataset:shards.`);
  if (!formats.includes(format as Format)) throw new Error(`"${text}": unknown format "${format}". There are ${formats.join(', ')}.`);
  return [name, { format: format as Format, file, ...(images ? { images } : {}) }];
}
