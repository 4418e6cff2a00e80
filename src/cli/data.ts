import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { contactSheet, encodePng } from '../core/images.js';
import { pairAt } from '../data/captions.js';
import { documentAt } from '../data/documents.js';
import { cells, concepts, styles } from '../data/emoji.js';
import { formats, readChecked, readDataset, writeDataset, type Format } from '../data/formats/datasets.js';
import { Intake } from '../data/formats/intake.js';
import type { PictureStore } from '../data/formats/pictures.js';
import { loadImage } from '../data/images.js';
import { describe, maskPicture, positions } from '../data/inspect.js';
import { conversationAt, instructInterleavedAt } from '../data/instructions.js';
import { questionAt } from '../data/questions.js';
import { toSample, type TrainingRecord } from '../data/samples.js';
import { nanoTokenizer, nanoTokenizerPath, trainTokenizer } from '../data/tokenizer.js';
import type { Axis, Split } from '../data/types.js';
import { layoutConfig } from '../dreamllm/config.js';
import type { Mode } from '../dreamllm/layout.js';
import { preset } from '../dreamllm/presets.js';
import { UsageError, type Arguments, type Command } from './command.js';
import { malformedPolicy } from './malformed.js';

const generators: Record<string, (seed: number, index: number, options: { split: Split; axis?: Axis }) => TrainingRecord> = {
  pair: pairAt,
  document: documentAt,
  'instruct-document': instructInterleavedAt,
  conversation: conversationAt,
};

const command: Command = {
  name: 'data',
  summary: 'Shows, writes and checks data: the emoji world and files in the formats of the field.',
  usage: 'inspect KIND | write FORMAT --out DIR | validate FORMAT FILE | sheet --out FILE | stats | tokenizer',
  options: {
    out: { type: 'string', help: 'folder to write to (write), or picture to write (inspect, sheet)' },
    count: { type: 'string', help: 'records to write, 1000 by default; pictures of a sheet, 64' },
    seed: { type: 'string', help: 'seed of the generator, 0 by default' },
    index: { type: 'string', help: 'which record to inspect, 0 by default' },
    split: { type: 'string', help: 'train (default), val or test' },
    axis: { type: 'string', help: 'what is new in val and test: cell (default), composition or concept' },
    size: { type: 'string', help: 'side of the pictures in pixels, 32 by default' },
    images: { type: 'string', help: 'write: folder (default), tar or zip; validate and inspect: where the pictures are' },
    mode: { type: 'string', help: 'inspect: joint (default), comprehension or creation' },
    file: { type: 'string', help: 'inspect a record of this file instead of a generated one; KIND is then its format' },
    'skip-up-to': { type: 'string', help: 'validate: share of malformed records that may be skipped, such as 0.01; none by default' },
    'no-pictures': { type: 'boolean', help: 'validate: do not decode the pictures' },
    json: { type: 'boolean', help: 'print JSON' },
  },
  async run(args, signal) {
    const [action, ...rest] = args.positionals;
    const run = actions[action];
    if (!run) throw new UsageError(`data: expected ${Object.keys(actions).join(', ')}, found "${action ?? ''}".`);
    return run(rest, args, signal);
  },
};
export default command;

const actions: Record<string, (rest: string[], args: Arguments, signal: AbortSignal) => Promise<number | void>> = {
  async inspect([kind = 'pair'], { values }) {
    const config = preset('nano');
    const tokenizer = nanoTokenizer();
    const record = values.file === undefined ? generated(kind, values) : await recordOfFile(kind, values);
    const layout = layoutConfig(config);
    const mode = oneOf<Mode>(values, 'mode', ['joint', 'comprehension', 'creation']);
    const sequence = toSample(record, (text) => tokenizer.encode(text), layout, { mode, seed: whole(values, 'seed', 0), template: config.template });
    const rows = positions(sequence, layout, tokenizer);
    if (values.json) console.log(JSON.stringify({ record, positions: rows, images: sequence.images, dreamImages: sequence.dreamImages, isTruncated: sequence.isTruncated }));
    else {
      console.log(describe(rows));
      const { images, dreamImages, isTruncated } = sequence;
      const numTargets = rows.filter(({ isTarget }) => isTarget).length;
      const pictures = `${dreamImages.length} drawn and ${images.length} read pictures`;
      console.log(`\n${rows.length} positions, ${numTargets} targets, ${pictures}${isTruncated ? '; truncated' : ''}`);
    }
    if (typeof values.out === 'string') await writePicture(values.out, await encodePng(await maskPicture(rows, sequence)));
  },

  async write([format, ...more], { values }) {
    if (more.length > 0) throw new UsageError(`data write takes one FORMAT, found "${more.join(' ')}" too.`);
    if (typeof values.out !== 'string') throw new UsageError('data write needs --out DIR.');
    const files = await writeDataset(formatOf(format), resolve(values.out), {
      ...sceneOptions(values),
      seed: whole(values, 'seed', 0),
      count: whole(values, 'count', 1000),
      side: whole(values, 'size', 32),
      store: oneOf<PictureStore>(values, 'images', ['folder', 'tar', 'zip']),
    });
    console.log(values.json ? JSON.stringify(files) : `wrote ${files.file}${files.images ? ` and ${files.images}` : ''}`);
  },

  async validate([format, file, ...more], { values }, signal) {
    if (!file || more.length > 0) throw new UsageError('data validate takes FORMAT and FILE.');
    const intake = new Intake(malformedPolicy(values));
    let [records, pictures] = [0, 0];
    const files = { format: formatOf(format), file: resolve(file), images: imagesOf(values) };
    for await (const _ of readChecked(files, intake, { decodePictures: !values['no-pictures'], onPicture: () => pictures++ })) {
      signal.throwIfAborted();
      records++;
    }
    const problems = intake.problems.map(({ message }) => message);
    const { missing } = intake;
    if (values.json) console.log(JSON.stringify({ records, pictures, missing, problems }));
    else {
      console.log([`${records} records, ${pictures} pictures, ${missing.length} missing pictures, ${problems.length} problems`, ...problems].join('\n'));
      if (missing.length > 0) console.log(`missing, left out: ${missing.slice(0, 10).join(', ')}${missing.length > 10 ? ', …' : ''}`);
    }
  },

  async sheet(_rest, { values }) {
    if (typeof values.out !== 'string') throw new UsageError('data sheet needs --out FILE.png.');
    const side = whole(values, 'size', 32);
    const pairs = Array.from({ length: whole(values, 'count', 64) }, (_, i) => pairAt(whole(values, 'seed', 0), i, sceneOptions(values)));
    const images = pairs.map(({ image }) => ({ width: side, height: side, data: loadImage(image, side) }));
    await writePicture(values.out, await encodePng(contactSheet(images)));
    console.log(pairs.map(({ caption }) => caption).join('\n'));
  },

  async stats(_rest, { values }) {
    const all = concepts();
    const count = (wanted: (each: (typeof all)[number]) => boolean) => all.filter(wanted).length;
    const stats = {
      concepts: all.length,
      components: new Set(all.map(({ component }) => component)).size,
      core: count(({ isCore }) => isCore),
      styles: Object.fromEntries(styles.map((style) => [style, count(({ icons }) => icons[style] !== undefined)])),
      splits: Object.fromEntries((['train', 'val', 'test'] as const).map((split) => [split, count((each) => each.split === split)])),
      cells: Object.fromEntries([
        ['train', cells('train').length],
        ...(['val', 'test'] as const).flatMap((split) => (['cell', 'concept'] as const).map((axis) => [`${split}, ${axis}`, cells(split, axis).length])),
      ]),
      samplesPerSecond: Object.fromEntries(Object.entries({ ...generators, question: questionAt }).map(([name, at]) => [name, speed((i) => at(1, i, { split: 'train' }))])),
      picturesPerSecond: speed((i) => loadImage(pairAt(1, i, { split: 'train' }).image)),
    };
    console.log(JSON.stringify(stats, null, values.json ? undefined : 2));
  },

  /** Trains the tokenizer anew. The committed one belongs to the committed models: a new one needs new models. */
  async tokenizer(_rest, { values }) {
    const target = typeof values.out === 'string' ? resolve(values.out) : undefined;
    if (!target) throw new UsageError(`data tokenizer needs --out FILE. The committed one is ${nanoTokenizerPath}; models trained with it cannot use another.`);
    const tokenizer = trainTokenizer();
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, `${JSON.stringify(tokenizer.json, null, 1)}\n`);
    console.log(`${tokenizer.vocabSize} tokens written to ${target}`);
  },
};

type Values = Arguments['values'];

function generated(kind: string, values: Values): TrainingRecord {
  const make = generators[kind];
  if (!make) throw new UsageError(`data inspect: expected ${Object.keys(generators).join(', ')}, found "${kind}". With --file, a format: ${formats.join(', ')}.`);
  return make(whole(values, 'seed', 0), whole(values, 'index', 0), sceneOptions(values));
}

async function recordOfFile(format: string, values: Values): Promise<TrainingRecord> {
  const index = whole(values, 'index', 0);
  let i = 0;
  for await (const record of readDataset({ format: formatOf(format), file: resolve(String(values.file)), images: imagesOf(values) })) {
    if (i++ < index) continue;
    if ('question' in record) throw new UsageError('MMBench questions are for evaluation and have no training layout.');
    return record;
  }
  throw new UsageError(`${String(values.file)} has ${i} records; there is none with --index ${index}.`);
}

const imagesOf = ({ images }: Values): string | undefined => (typeof images === 'string' ? resolve(images) : undefined);

function formatOf(format: string | undefined): Format {
  if (!formats.includes(format as Format)) throw new UsageError(`Expected a format: ${formats.join(', ')}; found "${format ?? ''}".`);
  return format as Format;
}

const sceneOptions = (values: Values) => ({
  split: oneOf<Split>(values, 'split', ['train', 'val', 'test']),
  axis: oneOf<Axis>(values, 'axis', ['cell', 'composition', 'concept']),
});

/** An option that is one of `allowed`, the first by default. */
function oneOf<T extends string>(values: Values, name: string, allowed: readonly T[]): T {
  const value = values[name] ?? allowed[0];
  if (!allowed.includes(value as T)) throw new UsageError(`--${name}: expected ${allowed.join(', ')}; found "${String(value)}".`);
  return value as T;
}

function whole(values: Values, name: string, byDefault: number): number {
  const value = Number(values[name] ?? byDefault);
  if (!Number.isInteger(value) || value < 0) throw new UsageError(`--${name}: expected a whole number, found "${String(values[name])}".`);
  return value;
}

async function writePicture(file: string, png: Uint8Array): Promise<void> {
  mkdirSync(dirname(resolve(file)), { recursive: true });
  writeFileSync(resolve(file), png);
}

/** Calls a second, measured on two thousand after as many to warm up. */
function speed(make: (index: number) => unknown): number {
  for (let i = 0; i < 2000; i++) make(i);
  const start = performance.now();
  for (let i = 0; i < 2000; i++) make(i);
  return Math.round(2_000_000 / (performance.now() - start));
}
