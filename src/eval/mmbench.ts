import { wilson } from './statistics.js';
import type { Interval } from './protocol.js';

/** One row of an MMBench file: a question with one rotation of its options. */
export interface MmbenchRow {
  /** Rotation k of question i has index i + 10^6 k. */
  readonly index: number;
  readonly question: string;
  readonly hint?: string;
  /** Present options by letter, from A on. */
  readonly options: Readonly<Record<string, string>>;
  readonly answer: string;
  /** L-3 ability. */
  readonly category?: string;
  /** L-2 ability. */
  readonly l2Category?: string;
  readonly split?: string;
  /** base64, or the index of the row that holds the picture. */
  readonly image?: string;
}

/** How an answer in words becomes a letter. `null`: nothing could be inferred; `Z`: the model said it cannot answer. */
export type Matcher = (prediction: string, options: Readonly<Record<string, string>>) => string | null;

const rotationStep = 1e6;
const refusals = ["Sorry, I can't help with images of people yet.", "I can't process this file.", "I'm sorry, but without the image provided", 'Cannot determine the answer'];

/**
 * The letter matcher of VLMEvalKit (commit e8e78f05): exactly one option letter among the words and close to the end, or else a phrase like
 * "the answer is B". Its readings of "A cat sits there" and "the answer is a dog" as A are the reference's.
 */
export const matchLetter: Matcher = (prediction, options) => {
  if (prediction.includes('Failed to obtain answer via API')) return null;
  if (refusals.some((refusal) => prediction.includes(refusal))) return 'Z';
  const words = prediction.replace(/[.()[\],:;!*#{}]/g, ' ').split(/\s+/).filter(Boolean);
  const found = Object.keys(options).filter((letter) => words.includes(letter));
  if (found.length === 1 && words.indexOf(found[0]) > words.length - 5) return found[0];
  if (found.length === 0 && words.includes('Z')) return 'Z';
  const stated = /answer\s+is\s+\**([ABCD])\**/i.exec(prediction)?.[1].toUpperCase();
  return stated !== undefined && stated in options ? stated : null;
};

/** VLMEvalKit's text matcher: the one option whose text the answer holds, unless the answer is more than twice as long as all options. */
export const matchText: Matcher = (prediction, options) => {
  const answer = prediction.toLowerCase();
  const entries = Object.entries(options);
  if (answer.length > 2 * entries.reduce((total, [, text]) => total + text.length, 0)) return null;
  const found = entries.filter(([, text]) => answer.includes(text.toLowerCase()));
  return found.length === 1 ? found[0][0] : null;
};

/** Letter first, then text, as VLMEvalKit without a language model as judge; what neither reads stays unread instead of becoming a random letter. */
export const matchVlmEvalKit: Matcher = (prediction, options) => matchLetter(prediction, options) ?? matchText(prediction, options);

export const matchers = { vlmevalkit: matchVlmEvalKit, letter: matchLetter, text: matchText } satisfies Record<string, Matcher>;

export interface Share {
  readonly accuracy: number;
  readonly hits: number;
  readonly n: number;
  readonly ci: Interval;
}

export interface MmbenchResult {
  /** A question counts when every rotation is right. */
  readonly circular: Share;
  /** First rotations only. */
  readonly vanilla: Share;
  /** Circular shares by ability: L-1 (perception, reasoning), L-2, L-3, as far as the file names them. */
  readonly abilities: { readonly l1: Record<string, Share>; readonly l2: Record<string, Share>; readonly l3: Record<string, Share> };
  readonly perQuestion: { readonly index: number; readonly circular: boolean; readonly vanilla: boolean; readonly category?: string }[];
  readonly extracted: ReadonlyMap<number, string | null>;
  /** Rows whose answer could not be read, with examples. They count as wrong. */
  readonly unparsed: { readonly n: number; readonly examples: { index: number; prediction: string }[] };
  /** Share of questions whose rotations all point to one option text, right or wrong. */
  readonly consistency: number;
  /** How often each letter was answered and was right: a bias for a position shows here. */
  readonly letters: Record<string, { answered: number; correct: number }>;
}

/** Scores predictions by row index. A row without a prediction, or a prediction without a row, is an error that names it. */
export function scoreMmbench(rows: readonly MmbenchRow[], predictions: ReadonlyMap<number, string>, matcher: Matcher = matchVlmEvalKit): MmbenchResult {
  checkRows(rows);
  const missing = rows.filter(({ index }) => !predictions.has(index));
  if (missing.length > 0) throw new Error(`MMBench: ${missing.length} of ${rows.length} rows have no prediction, first index ${missing[0].index}. An empty answer is a prediction; a missing one is not.`);
  const known = new Set(rows.map(({ index }) => index));
  for (const index of predictions.keys()) if (!known.has(index)) throw new Error(`MMBench: the prediction with index ${index} belongs to no row of the questions.`);

  const extracted = new Map(rows.map((row) => [row.index, matcher(predictions.get(row.index)!, row.options)]));
  const groups = new Map<number, MmbenchRow[]>();
  for (const row of rows) {
    const group = row.index % rotationStep;
    groups.set(group, [...(groups.get(group) ?? []), row]);
  }
  const right = (row: MmbenchRow) => extracted.get(row.index) === row.answer;
  const perQuestion = [...groups].map(([index, group]) => {
    const main = group.find((row) => row.index < rotationStep)!;
    return { index, circular: group.every(right), vanilla: right(main), category: main.category, l2Category: main.l2Category };
  });
  const shareBy = (label: (question: (typeof perQuestion)[number]) => string | undefined) => {
    const labels = [...new Set(perQuestion.map(label))].filter((name) => name !== undefined).sort();
    return Object.fromEntries(labels.map((name) => [name, shareOf(perQuestion.filter((question) => label(question) === name).map(({ circular }) => circular))]));
  };
  const unread = rows.filter(({ index }) => extracted.get(index) === null);
  const letters: MmbenchResult['letters'] = {};
  for (const row of rows) {
    for (const letter of Object.keys(row.options)) letters[letter] ??= { answered: 0, correct: 0 };
    letters[row.answer].correct++;
    const answer = extracted.get(row.index);
    if (answer && answer in letters) letters[answer].answered++;
  }
  const consistent = [...groups.values()].filter((group) => {
    const texts = group.map((row) => row.options[extracted.get(row.index) ?? '']);
    return texts.every((text) => text !== undefined && text === texts[0]);
  });
  return {
    circular: shareOf(perQuestion.map(({ circular }) => circular)),
    vanilla: shareOf(perQuestion.map(({ vanilla }) => vanilla)),
    abilities: { l1: shareBy(({ l2Category }) => level1(l2Category)), l2: shareBy(({ l2Category }) => l2Category), l3: shareBy(({ category }) => category) },
    perQuestion: perQuestion.map(({ index, circular, vanilla, category }) => ({ index, circular, vanilla, category })),
    extracted,
    unparsed: { n: unread.length, examples: unread.slice(0, 5).map(({ index }) => ({ index, prediction: predictions.get(index)! })) },
    consistency: consistent.length / groups.size,
    letters,
  };
}

/** All rotations of a row, the way the official files hold them: one step turns options (a, b, c, d) into (d, a, b, c). */
export function rotations(row: MmbenchRow): MmbenchRow[] {
  const letters = Object.keys(row.options);
  return letters.map((_, turn) => {
    const from = (i: number) => letters[(i - turn + letters.length) % letters.length];
    const options = Object.fromEntries(letters.map((letter, i) => [letter, row.options[from(i)]]));
    return { ...row, index: row.index + turn * rotationStep, options, answer: letters[(letters.indexOf(row.answer) + turn) % letters.length] };
  });
}

/** The L-1 ability of an L-2 ability of MMBench. */
export function level1(l2Category: string | undefined): string | undefined {
  if (l2Category === undefined) return undefined;
  return /perception/.test(l2Category) ? 'perception' : /reasoning/.test(l2Category) ? 'reasoning' : undefined;
}

function shareOf(flags: readonly boolean[]): Share {
  const hits = flags.filter(Boolean).length;
  return { accuracy: hits / flags.length, hits, n: flags.length, ci: wilson(hits, flags.length) };
}

function checkRows(rows: readonly MmbenchRow[]): void {
  if (rows.length === 0) throw new Error('MMBench: expected questions, found none.');
  const seen = new Set<number>();
  for (const { index, options, answer } of rows) {
    if (!Number.isInteger(index) || index < 0) throw new Error(`MMBench: expected an index of 0 or more, found ${index}.`);
    if (seen.has(index)) throw new Error(`MMBench: index ${index} occurs twice.`);
    seen.add(index);
    if (Object.keys(options).length < 2) throw new Error(`MMBench: the row with index ${index} has ${Object.keys(options).length} options; a choice needs at least 2.`);
    if (!(answer in options)) throw new Error(`MMBench: the row with index ${index} has the answer "${answer}" but the options ${Object.keys(options).join(', ')}.`);
  }
  for (const index of seen) {
    if (!seen.has(index % rotationStep)) throw new Error(`MMBench: index ${index} is a rotation of ${index % rotationStep}, which is not in the file.`);
  }
}
