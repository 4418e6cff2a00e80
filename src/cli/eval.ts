import { existsSync, statSync } from 'node:fs';
import { captionPairs, readMmbench, readMmbenchPredictions, readMmvet, readPope, readVqa, tokenizers, withRotations } from '../eval/benchmark-files.js';
import { explainDifference, fidWaterfall, sampleOf, waterfallFigure } from '../eval/explain.js';
import { readFeatures, type Features } from '../eval/features.js';
import { measureCaptions, measureClipScore, measureCmmd, measureFid, measureKid, measureMmbench, measureMmvet, measurePope, measurePrecisionRecall, measureVqa } from '../eval/measure.js';
import { matchers } from '../eval/mmbench.js';
import { endpointJudge, judgeFromEnvironment, localJudge, type Judge } from '../eval/mmvet.js';
import { parseMeasurement, type Measurement, type Protocol } from '../eval/protocol.js';
import { extractorNames, featuresOf, keptMoments, readMoments, sourceHash } from '../eval/reference.js';
import { indexField, readJson, readRows, readText, textField } from '../eval/records.js';
import { UsageError, type Arguments, type Command } from './command.js';

type Values = Arguments['values'];
type Measure = (values: Values, context: Context) => Promise<Measurement> | Measurement;

interface Context {
  protocol: Protocol;
  warn(message: string): void;
  signal: AbortSignal;
}

/** A folder of pictures or a feature file, as features. */
function load(option: string, values: Values, { warn, signal }: Context): Promise<Features> {
  const weights = values.weights as string | undefined;
  // Networks take a second to load, and feature files need none.
  const extractor = async () => (await import('../eval/extractors.js')).extractorNamed((values.extractor as string | undefined) ?? 'inception-mixed5', { weights, onProgress: progress(signal) });
  return featuresOf(need(values, option), extractor, warn, signal);
}

/** Counts pictures on a terminal's error output; a program reads none of it. */
const progress = (signal: AbortSignal) => (done: number, total: number) => {
  signal.throwIfAborted();
  if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${total} pictures${done === total ? '\n' : ''}`);
};

const sides = async (values: Values, context: Context) => [await load('real', values, context), await load('fake', values, context)] as const;

async function fid(values: Values, context: Context): Promise<Measurement> {
  const path = need(values, 'real');
  const cache = values.cache as string | undefined;
  let real: Parameters<typeof measureFid>[0];
  if (path.endsWith('.npz')) real = readMoments(path);
  else if (!cache) real = await load('real', values, context);
  else {
    if (!existsSync(path)) throw new Error(`${path} does not exist.`);
    const hash = sourceHash(path, statSync(path).isDirectory() ? `${values.extractor ?? ''} ${values.weights ?? ''}` : '');
    real = await keptMoments(cache, hash, () => load('real', values, context));
  }
  return measureFid(real, await load('fake', values, context), { protocol: context.protocol, allowFew: values['allow-few'] === true, ...(values.infinity ? { infinity: true } : {}) });
}

const captions = (metric: 'cider' | 'bleu' | 'rouge'): Measure => (values, { protocol }) => {
  const tokenizer = choice(values, 'tokenizer', Object.keys(tokenizers) as (keyof typeof tokenizers)[], 'ptb');
  const subset = values.subset === true;
  const pairs = captionPairs(need(values, 'references'), need(values, 'candidates'), tokenizer, subset);
  return measureCaptions(metric, pairs, { tokenizer: tokenizer === 'ptb' ? 'Penn Treebank rules, lower case, punctuation dropped' : 'split at blanks', subset, ...protocol });
};

const metrics: Record<string, Measure> = {
  fid,
  kid: async (values, context) => {
    const [real, fake] = await sides(values, context);
    return measureKid(real, fake, { protocol: context.protocol, subsets: count(values, 'subsets'), subsetSize: count(values, 'subset-size'), seed: count(values, 'seed', 0) });
  },
  cmmd: async (values, context) => measureCmmd(...(await sides(values, context)), { protocol: context.protocol }),
  pr: async (values, context) => measurePrecisionRecall(...(await sides(values, context)), { protocol: context.protocol, k: count(values, 'neighbours') }),
  clip: async (values, context) => {
    const isText = /\.(json|txt)$/.test(need(values, 'texts'));
    // Texts in words need the CLIP that embeds the pictures too.
    const images = await load('images', isText ? { ...values, extractor: 'nano-clip' } : values, context);
    return measureClipScore(images, isText ? await embeddedTexts(values) : await load('texts', values, context), context.protocol);
  },
  mmbench: (values, { protocol, warn }) => {
    const questions = readMmbench(need(values, 'tsv'));
    const predictions = readMmbenchPredictions(need(values, 'predictions'));
    // Predictions for rotations that the file does not spell out ask for them.
    const isRotated = [...predictions.keys()].some((index) => index >= 1e6);
    const rows = isRotated ? withRotations(questions) : questions;
    if (rows.length > questions.length) warn(`The questions hold first rotations only; the others were made from them by the rule of the official files.`);
    return measureMmbench(rows, predictions, choice(values, 'matcher', Object.keys(matchers) as (keyof typeof matchers)[], 'vlmevalkit'), protocol);
  },
  cider: captions('cider'),
  bleu: captions('bleu'),
  rouge: captions('rouge'),
  vqa: (values, { protocol }) =>
    measureVqa(readVqa(need(values, 'annotations'), need(values, 'predictions')), choice(values, 'variant', ['official', 'evalai', 'containment'] as const, 'official'), protocol),
  pope: (values, { protocol }) => measurePope(readPope(need(values, 'questions'), need(values, 'predictions')), protocol),
  mmvet: (values, { protocol, signal }) =>
    measureMmvet(readMmvet(need(values, 'questions'), need(values, 'predictions')), judges(values), count(values, 'repeats') ?? 1, protocol, signal),
};

/** Texts of a `.txt` file, one a line, or of a `.json` list, embedded by the nano CLIP. */
async function embeddedTexts(values: Values): Promise<Features> {
  const file = need(values, 'texts');
  const content = file.endsWith('.json') ? readJson(file) : readText(file).split(/\r?\n/).filter((line, i, lines) => line !== '' || i < lines.length - 1);
  const wrong = Array.isArray(content) ? content.findIndex((text) => typeof text !== 'string' || text.trim() === '') : 0;
  if (!Array.isArray(content) || wrong >= 0) throw new Error(`${file}: expected a list of texts, found ${JSON.stringify(Array.isArray(content) ? content[wrong] : content)?.slice(0, 60)}${Array.isArray(content) ? ` at entry ${wrong}` : ''}.`);
  const { clipTextFeatures } = await import('../eval/extractors.js');
  return clipTextFeatures(content as string[], file, values.weights as string | undefined);
}

/** `local`, `endpoint` (named by the environment) or `endpoint:MODEL` (another model there); repeatable. */
function judges(values: Values): Judge[] {
  const named = ([values.judge].flat().filter((name) => name !== undefined) as string[]) ?? [];
  return (named.length > 0 ? named : ['local']).map((name) => {
    if (name === 'local') return localJudge;
    if (name === 'endpoint' || name.startsWith('endpoint:')) {
      const { DREAMLLM_JUDGE_URL: url, DREAMLLM_JUDGE_KEY: key } = process.env;
      const judge = name === 'endpoint' ? judgeFromEnvironment() : url && endpointJudge({ url, key, model: name.slice('endpoint:'.length) });
      if (judge) return judge;
      throw new UsageError('eval: --judge endpoint needs DREAMLLM_JUDGE_URL (and DREAMLLM_JUDGE_MODEL, DREAMLLM_JUDGE_KEY) in the environment.');
    }
    throw new UsageError(`eval: expected --judge local, endpoint or endpoint:MODEL, found "${name}".`);
  });
}

/**
 * How much each step of a path explains. STEPS.json: [{ label, real, fake, n? }, …] with feature files; n takes a random sample of that many rows of `fake`.
 */
function explainPath(file: string, isJson: boolean): number {
  const cache = new Map<string, Features>();
  const read = (path: string) => {
    if (!cache.has(path)) cache.set(path, readFeatures(path));
    return cache.get(path)!;
  };
  const steps = fidWaterfall(readRows(file).map((row) => {
    const generated = read(textField(row, 'fake'));
    return { label: textField(row, 'label'), reference: read(textField(row, 'real')), generated: row.fields.n === undefined ? generated : sampleOf(generated, indexField(row, 'n')) };
  }));
  if (isJson) console.log(JSON.stringify({ steps, figure: waterfallFigure(steps) }));
  else {
    const width = Math.max(...steps.map(({ label }) => label.length));
    for (const [i, { label, value, change }] of steps.entries()) console.log(`${label.padEnd(width)}  ${value.toFixed(3).padStart(10)}${i > 0 ? `  ${change >= 0 ? '+' : ''}${change.toFixed(3)}` : ''}`);
  }
  return 0;
}

function explain(files: readonly string[], path: string | undefined, isJson: boolean): number {
  if (path !== undefined) return explainPath(path, isJson);
  if (files.length !== 2) throw new UsageError('eval explain: expected two files that `eval … --json` wrote.');
  const [a, b] = files.map((file) => parseMeasurement(readText(file), file));
  const difference = explainDifference(a, b);
  if (isJson) console.log(JSON.stringify({ a: files[0], b: files[1], same: difference === '', difference }));
  else console.log(difference || `Both numbers have the same protocol: ${a.value} and ${b.value} may share a column.`);
  return 0;
}

const command: Command = {
  name: 'eval',
  summary: 'Measures files of any origin: FID and its kin, captions, VQA, POPE, MMBench, MM-Vet. Every number comes with its protocol.',
  usage: 'METRIC … [--json]   (METRIC: fid, kid, cmmd, pr, clip, mmbench, cider, bleu, rouge, vqa, pope, mmvet; or explain A.json B.json, explain --path STEPS.json)',
  options: {
    real: { type: 'string', help: 'reference: folder of pictures, .npy or .safetensors [n, d]; for fid also .npz with mu and sigma' },
    fake: { type: 'string', help: 'generated: folder of pictures or feature file' },
    images: { type: 'string', help: 'clip: embeddings of pictures, or a folder' },
    texts: { type: 'string', help: 'clip: embeddings of the texts, row by row; or .txt or .json texts for the nano CLIP' },
    extractor: { type: 'string', help: `network for folders: ${extractorNames.join(', ')} (default inception-mixed5)` },
    weights: { type: 'string', help: 'weights of the extractor, where it has none of its own' },
    cache: { type: 'string', help: 'fid: folder that keeps the moments of the reference under its hash' },
    'allow-few': { type: 'boolean', help: 'fid: measure although a side has no more pictures than dimensions' },
    infinity: { type: 'boolean', help: 'fid: extrapolate to infinitely many pictures also above 1,024 dimensions' },
    subsets: { type: 'string', help: 'kid: number of random subsets (default 100)' },
    'subset-size': { type: 'string', help: 'kid: pictures a subset (default 1000, or half of the pictures)' },
    seed: { type: 'string', help: 'kid: seed of the subsets (default 0)' },
    neighbours: { type: 'string', help: 'pr: which nearest neighbour gives the radius (default 3)' },
    tsv: { type: 'string', help: 'mmbench: the questions' },
    predictions: { type: 'string', help: 'answers: columns index and prediction (mmbench), question_id and answer (vqa, pope), id to text (mmvet)' },
    matcher: { type: 'string', help: 'mmbench: vlmevalkit (letter, then text), letter or text' },
    references: { type: 'string', help: 'captions: COCO annotations' },
    candidates: { type: 'string', help: 'captions: COCO results' },
    tokenizer: { type: 'string', help: 'captions: ptb (default) or space' },
    subset: { type: 'boolean', help: 'captions: score only the pictures that have a candidate' },
    annotations: { type: 'string', help: 'vqa: human answers' },
    variant: { type: 'string', help: 'vqa: official (default), evalai or containment' },
    questions: { type: 'string', help: 'pope, mmvet: the questions' },
    judge: { type: 'string', multiple: true, help: 'mmvet: local (default), endpoint or endpoint:MODEL; repeatable' },
    repeats: { type: 'string', help: 'mmvet: calls of each judge for each answer (default 1)' },
    path: { type: 'string', help: 'explain: list of { label, real, fake, n? } with feature files, from one number to the other' },
    set: { type: 'string', multiple: true, help: 'field=value of the protocol that the files cannot say, such as split=val2014; repeatable' },
    json: { type: 'boolean', help: 'print the measurement as JSON' },
  },
  async run({ positionals: [name, ...rest], values }, signal) {
    if (name === 'explain') return explain(rest, values.path as string | undefined, values.json === true);
    const measure = metrics[name ?? ''];
    if (!measure || rest.length > 0) throw new UsageError(`eval: expected one metric of ${Object.keys(metrics).join(', ')} or explain, found "${[name, ...rest].filter(Boolean).join(' ')}".`);
    const result = await measure(values, { protocol: stated(values), signal, warn: (message) => console.error(`warning: ${message}`) });
    if (values.json) console.log(JSON.stringify(result));
    else console.log(describe(result));
  },
};

function need(values: Values, option: string): string {
  const value = values[option];
  if (typeof value !== 'string' || value === '') throw new UsageError(`eval: --${option} is missing.`);
  return value;
}

function choice<T extends string>(values: Values, option: string, known: readonly T[], byDefault: NoInfer<T>): T {
  const value = (values[option] as string | undefined) ?? byDefault;
  if (!known.includes(value as T)) throw new UsageError(`eval: expected --${option} ${known.join(', ')}, found "${value}".`);
  return value as T;
}

function count(values: Values, option: string, least = 1): number | undefined {
  if (values[option] === undefined) return undefined;
  const value = Number(values[option]);
  if (!Number.isInteger(value) || value < least) throw new UsageError(`eval: expected a whole number of ${least} or more for --${option}, found "${values[option] as string}".`);
  return value;
}

/** Protocol fields from `--set field=value`. */
function stated(values: Values): Protocol {
  return Object.fromEntries((([values.set].flat().filter(Boolean)) as string[]).map((text) => {
    const at = text.indexOf('=');
    if (at < 1) throw new UsageError(`eval: expected --set field=value, found "${text}".`);
    const value = text.slice(at + 1);
    return [text.slice(0, at), value !== '' && Number.isFinite(Number(value)) ? Number(value) : value];
  }));
}

/** The measurement for a reader: value, interval, doubts, protocol, and the single numbers of its details. */
function describe({ metric, value, n, ci, protocol, warnings = [], details }: Measurement): string {
  const digits = (x: number) => (Number.isInteger(x) ? String(x) : Math.abs(x) >= 1e-3 && Math.abs(x) < 1e6 ? x.toFixed(4) : x.toExponential(4));
  const interval = ci ? `  [${digits(ci.low)}, ${digits(ci.high)}] ${100 * ci.level} % over ${ci.source}, ${ci.method}` : '';
  const rows = (fields: object, indent: string): string[] => Object.entries(fields).flatMap(([key, field]): string[] => {
    if (typeof field === 'number') return [`${indent}${key}: ${digits(field)}`];
    if (typeof field === 'string' || typeof field === 'boolean') return [`${indent}${key}: ${field}`];
    if (Array.isArray(field)) return field.length > 0 && field.length <= 8 && field.every((item) => typeof item === 'number') ? [`${indent}${key}: ${field.map(digits).join(', ')}`] : [];
    if (field === null || typeof field !== 'object' || key === 'ci') return [];
    const inner = rows(field as object, `${indent}  `);
    return inner.length > 0 ? [`${indent}${key}:`, ...inner] : [];
  });
  return [
    `${metric} ${digits(value)}  (n = ${n})${interval}`, ...warnings.map((warning) => `warning: ${warning}`), 'protocol:', ...rows(protocol, '  '),
    ...(details && typeof details === 'object' ? ['details:', ...rows(details, '  ')] : []),
  ].join('\n');
}

export default command;
