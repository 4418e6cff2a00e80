import { asFloat32, readSafetensors } from '../../core/safetensors.js';
import { bleu, ciderD, rougeL, type CaptionPair } from '../../eval/captions.js';
import { features, selectRows, type Features } from '../../eval/features.js';
import { frechetDistance, moments } from '../../eval/frechet.js';
import { kidOfSubsets, unbiasedKid } from '../../eval/kernel-distance.js';
import { scoreMmbench, type MmbenchRow } from '../../eval/mmbench.js';
import { parseYesNo, popeScores } from '../../eval/pope.js';
import { evalAiNormalize, groupMeans, normalizeDigitsArticles, normalizePunctuation, vqaAccuracy } from '../../eval/vqa.js';
import type { Fixture } from './fixture.js';
import type { Kind } from './kinds.js';
import type { Report } from './report.js';

const parts: Record<string, (fixture: Fixture, report: Report) => void> = {
  'fid_kid.json': imageMetrics, 'captions.json': captionMetrics, 'vqa.json': vqa, 'mmbench.json': mmbench, 'pope.json': pope,
};

/** The metrics of the original evaluation scripts, in float64. A folder may hold any of the files. */
export const metricsKind: Kind = {
  name: 'metrics',
  matches: (fixture) => Object.keys(parts).some((file) => fixture.has(file)),
  async run(fixture, report) {
    for (const [file, run] of Object.entries(parts)) if (fixture.has(file)) run(fixture, report);
  },
};

const relative = 1e-6;
/** Agreement to a millionth of the reference, or to rounding where that is 0. */
const close = (report: Report, name: string, found: number, expected: number, tol = Math.max(relative * Math.abs(expected), 1e-12)) =>
  report.check(name, Math.abs(found - expected), tol, Number.isFinite(found) ? undefined : `found ${found}`);

/** One row for a list: its worst entry against that entry's tolerance. */
function allClose(report: Report, name: string, found: readonly number[], expected: readonly number[], tol?: number): void {
  if (found.length !== expected.length) return report.claim(name, false, `expected ${expected.length} values, found ${found.length}`);
  const allowed = expected.map((value) => tol ?? Math.max(relative * Math.abs(value), 1e-12));
  const excess = found.map((value, i) => Math.abs(value - expected[i]) / allowed[i]);
  const worst = excess.some(Number.isNaN) ? excess.findIndex(Number.isNaN) : excess.indexOf(Math.max(...excess));
  if (worst >= 0) close(report, name, found[worst], expected[worst], allowed[worst]);
}

function exact(report: Report, name: string, found: readonly unknown[], expected: readonly unknown[]): void {
  const wrong = expected.findIndex((value, i) => value !== found[i]);
  const ok = wrong < 0 && found.length === expected.length;
  report.claim(name, ok, ok ? `${expected.length} exact` : `entry ${wrong}: expected ${JSON.stringify(expected[wrong])}, found ${JSON.stringify(found[wrong])}`);
}

interface FidCase { eigenvalues: number; tol: number; mean_term: number; trace_x: number; trace_y: number; trace_sqrt: number }
interface KidCase { first_m_of_both: number; unbiased: number; subsets: [number[], number[]][]; subset_values: number[]; subset_mean: number; subset_std: number }

function imageMetrics(fixture: Fixture, report: Report): void {
  const expected = fixture.json('fid_kid.json') as { fid: Record<string, FidCase>; kid: Record<string, KidCase> };
  const { tensors } = readSafetensors(fixture.path('features.safetensors'));
  const stored = (key: string): Features => {
    const tensor = tensors.get(key);
    if (!tensor) throw new Error(`features.safetensors lacks "${key}".`);
    return features(asFloat32(tensor.values), tensor.shape, key);
  };
  for (const [name, of] of Object.entries(expected.fid)) {
    const found = frechetDistance(moments(stored(`${name}.x`)), moments(stored(`${name}.y`)));
    close(report, `fid.${name}`, found.distance, of.eigenvalues, of.tol);
    close(report, `fid.${name}.mean_term`, found.meanTerm, of.mean_term);
    close(report, `fid.${name}.trace_x`, found.traceA, of.trace_x);
    close(report, `fid.${name}.trace_y`, found.traceB, of.trace_y);
    close(report, `fid.${name}.trace_sqrt`, found.traceRoot, of.trace_sqrt, of.tol);
  }
  for (const [name, of] of Object.entries(expected.kid)) {
    const [x, y] = [stored(`${name}.x`), stored(`${name}.y`)];
    const first = (side: Features) => selectRows(side, Array.from({ length: of.first_m_of_both }, (_, i) => i));
    close(report, `kid.${name}.unbiased`, unbiasedKid(first(x), first(y)), of.unbiased);
    const values = kidOfSubsets(x, y, of.subsets);
    allClose(report, `kid.${name}.subset_values`, values, of.subset_values);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    close(report, `kid.${name}.subset_mean`, mean, of.subset_mean);
    close(report, `kid.${name}.subset_std`, Math.sqrt(values.reduce((total, value) => total + (value - mean) ** 2, 0) / values.length), of.subset_std);
  }
}

interface CaptionCase {
  references: Record<string, string[]>; candidates: Record<string, string[]>; order: string[]; bleu: number[]; bleu_per_image: Record<string, number[]>;
  cider: number; cider_per_image: number[]; rouge_l: number; rouge_l_per_image: number[];
}

function captionMetrics(fixture: Fixture, report: Report): void {
  const of = fixture.json('captions.json') as CaptionCase;
  const pairs: CaptionPair[] = of.order.map((id) => ({ id, candidate: of.candidates[id][0].split(' '), references: of.references[id].map((text) => text.split(' ')) }));
  const { corpus, perImage } = bleu(pairs);
  allClose(report, 'captions.bleu', corpus, of.bleu);
  corpus.forEach((_, order) => allClose(report, `captions.bleu_${order + 1}_per_image`, perImage.map((values) => values[order]), of.bleu_per_image[`bleu_${order + 1}`]));
  const [rouge, cider] = [rougeL(pairs), ciderD(pairs)];
  close(report, 'captions.rouge_l', rouge.mean, of.rouge_l);
  allClose(report, 'captions.rouge_l_per_image', rouge.perImage, of.rouge_l_per_image);
  close(report, 'captions.cider', cider.mean, of.cider);
  allClose(report, 'captions.cider_per_image', cider.perImage, of.cider_per_image);
}

interface VqaAccuracies { overall: number; perQuestionType: Record<string, number>; perAnswerType: Record<string, number> }
interface VqaCase {
  items: { question_id: number; answers: string[]; prediction: string; question_type: string; answer_type: string }[];
  accuracy: VqaAccuracies; per_question: number[];
  normalisation: { text: string; after_punctuation: string; after_both: string }[];
  evalai?: { accuracy: number; per_question: number[]; normalisation: { text: string; processed: string }[] };
  dreamllm_repository_variant?: { accuracy: VqaAccuracies; per_question: number[] };
}

function vqa(fixture: Fixture, report: Report): void {
  const of = fixture.json('vqa.json') as VqaCase;
  const items = of.items.map(({ question_id: id, answers, prediction }) => ({ id, answers, prediction }));
  // The evaluation rounds percentages to two decimals.
  const rounding = 0.005 + 1e-9;
  const percent = (variant: 'official' | 'containment', name: string, expected: { accuracy: VqaAccuracies; per_question: number[] }) => {
    const { accuracy, perQuestion } = vqaAccuracy(items, variant);
    close(report, `${name}.overall`, 100 * accuracy, expected.accuracy.overall, rounding);
    allClose(report, `${name}.per_question`, perQuestion.map((value) => 100 * value), expected.per_question, rounding);
    for (const [field, labels, values] of [
      ['perQuestionType', of.items.map((item) => item.question_type), expected.accuracy.perQuestionType],
      ['perAnswerType', of.items.map((item) => item.answer_type), expected.accuracy.perAnswerType],
    ] as const) {
      const found = groupMeans(perQuestion, labels);
      allClose(report, `${name}.${field}`, Object.keys(values).map((label) => 100 * (found[label]?.mean ?? NaN)), Object.values(values), rounding);
    }
  };
  percent('official', 'vqa.official', of);
  exact(report, 'vqa.after_punctuation', of.normalisation.map(({ text }) => normalizePunctuation(text)), of.normalisation.map((step) => step.after_punctuation));
  exact(report, 'vqa.after_both', of.normalisation.map(({ text }) => normalizeDigitsArticles(normalizePunctuation(text))), of.normalisation.map((step) => step.after_both));
  if (of.evalai) {
    const { accuracy, perQuestion } = vqaAccuracy(items, 'evalai');
    close(report, 'vqa.evalai.accuracy', accuracy, of.evalai.accuracy, 0.5e-5 + 1e-9);
    allClose(report, 'vqa.evalai.per_question', perQuestion, of.evalai.per_question, 0.5e-5 + 1e-9);
    exact(report, 'vqa.evalai.normalisation', of.evalai.normalisation.map(({ text }) => evalAiNormalize(text)), of.evalai.normalisation.map(({ processed }) => processed));
  }
  if (of.dreamllm_repository_variant) percent('containment', 'vqa.containment', of.dreamllm_repository_variant);
}

interface MmbenchCase {
  items: ({ index: number; g_index: number; answer: string; prediction: string; category: string; extracted: string | null } & Record<string, unknown>)[];
  circular_hit: Record<string, number>; circular_accuracy: number; circular_accuracy_per_category: Record<string, number>; vanilla_accuracy_first_roll: number;
}

function mmbench(fixture: Fixture, report: Report): void {
  const of = fixture.json('mmbench.json') as MmbenchCase;
  const rows: MmbenchRow[] = of.items.map((item) => ({
    index: item.index, question: '', answer: item.answer, category: item.category,
    options: Object.fromEntries([...'ABCDEFGH'].flatMap((letter) => (typeof item[letter] === 'string' ? [[letter, item[letter] as string]] : []))),
  }));
  const found = scoreMmbench(rows, new Map(of.items.map((item) => [item.index, item.prediction])));
  exact(report, 'mmbench.extracted', of.items.map(({ index }) => found.extracted.get(index)), of.items.map(({ extracted }) => extracted));
  const hits = new Map(found.perQuestion.map(({ index, circular }) => [String(index), circular ? 1 : 0]));
  exact(report, 'mmbench.circular_hit', Object.keys(of.circular_hit).map((index) => hits.get(index)), Object.values(of.circular_hit));
  close(report, 'mmbench.circular', found.circular.accuracy, of.circular_accuracy);
  close(report, 'mmbench.vanilla', found.vanilla.accuracy, of.vanilla_accuracy_first_roll);
  const categories = Object.entries(of.circular_accuracy_per_category);
  allClose(report, 'mmbench.categories', categories.map(([name]) => found.abilities.l3[name]?.accuracy ?? NaN), categories.map(([, value]) => value));
}

interface PopeCase {
  items: { label: 'yes' | 'no'; answer: string; parsed: 'yes' | 'no' }[];
  TP: number; FP: number; TN: number; FN: number; acc: number; precision: number; recall: number; f1: number; yes_ratio: number;
}

function pope(fixture: Fixture, report: Report): void {
  const of = fixture.json('pope.json') as PopeCase;
  const answers = of.items.map(({ answer }) => parseYesNo(answer));
  exact(report, 'pope.parsed', answers, of.items.map(({ parsed }) => parsed));
  const found = popeScores(of.items.map(({ label }) => label), answers);
  exact(report, 'pope.counts', [found.truePositives, found.falsePositives, found.trueNegatives, found.falseNegatives], [of.TP, of.FP, of.TN, of.FN]);
  for (const [name, value, expected] of [
    ['acc', found.accuracy, of.acc], ['precision', found.precision, of.precision], ['recall', found.recall, of.recall], ['f1', found.f1, of.f1],
    ['yes_ratio', found.yesRatio, of.yes_ratio],
  ] as const) close(report, `pope.${name}`, value, expected);
}
