import { bleu, ciderD, rougeL, type CaptionPair } from './captions.js';
import { pairCosines } from './clip-score.js';
import { featuresHash, type Features } from './features.js';
import { factored, factoredMomentsOf, frechetDistance, frechetLimit, moments, type FactoredMoments, type Frechet, type FrechetLimit, type Moments } from './frechet.js';
import { cmmd, kid } from './kernel-distance.js';
import { matchers, scoreMmbench, type MmbenchResult, type MmbenchRow } from './mmbench.js';
import { scoreMmvet, type Judge, type MmvetItem, type MmvetResult } from './mmvet.js';
import type { PopeItem } from './benchmark-files.js';
import { parseYesNo, popeScores, type PopeScores } from './pope.js';
import { precisionRecall } from './precision-recall.js';
import { measurement, type Measurement, type Protocol } from './protocol.js';
import { estimate, wilson } from './statistics.js';
import { groupMeans, vqaAccuracy, type VqaItem, type VqaVariant } from './vqa.js';

/** Every metric as a measurement: the value with the protocol that made it. `protocol` says what the data cannot say of itself. */

export interface FidOptions {
  readonly protocol?: Protocol;
  /** Measure although a side has no more pictures than the features have dimensions. */
  readonly allowFew?: boolean;
  /** Extrapolate to infinitely many pictures. By default where that takes seconds: up to 1,024 dimensions. */
  readonly infinity?: boolean;
}

export type FidDetails = Frechet & { readonly infinity?: FrechetLimit; /** What the finite sample adds, by that extrapolation. */ readonly bias?: number };

/** Fréchet distance of features (FID, where they are those of its network). `real` may be published moments. */
export async function measureFid(real: Features | FactoredMoments | Moments, fake: Features, { protocol, allowFew = false, infinity }: FidOptions = {}): Promise<Measurement<FidDetails>> {
  const warnings = fewWarnings(real, fake);
  if (warnings.length > 0 && !allowFew) throw new Error(`${warnings.join(' ')} Use KID or CMMD, take more pictures, or allow it explicitly (--allow-few).`);
  const [reference, generated] = 'values' in real ? await factoredMomentsOf(real, fake) : [real, moments(fake)];
  const result = frechetDistance(reference, generated);
  const extrapolates = (infinity ?? fake.dim <= 1024) && fake.n >= 16;
  const limit = extrapolates ? frechetLimit('factor' in reference ? reference : factored(reference), fake) : undefined;
  return measurement({
    metric: 'fid', value: result.distance, n: fake.n, warnings,
    protocol: { ...imageProtocol(real, fake), covariance: 'n - 1, float64', ...protocol },
    details: { ...result, ...(limit ? { infinity: limit, bias: result.distance - limit.limit } : {}) },
  });
}

/** Why an FID of this many pictures is doubtful: with n <= dim a covariance is singular and the distance biased upwards. */
function fewWarnings(real: { name: string; n?: number; dim: number }, fake: Features): string[] {
  return [real, fake].flatMap(({ name, n, dim }) =>
    n !== undefined && n <= dim ? [`${name} has ${n} pictures for ${dim} dimensions: its covariance is singular and the FID is biased upwards.`] : []);
}

function imageProtocol(real: Features | Moments, fake: Features): Protocol {
  const known = [fake.extractor, real.extractor].find((name) => name !== undefined && name !== 'unknown');
  return { extractor: known ?? `unknown, ${fake.dim} dimensions`, size: fake.n, referenceSize: real.n ?? 'not stated', reference: 'values' in real ? featuresHash(real) : (real.hash ?? real.name) };
}

export interface KidOptions {
  readonly protocol?: Protocol;
  readonly subsets?: number;
  readonly subsetSize?: number;
  readonly seed?: number;
}

/** Kernel distance: the mean over random subsets, by default 100 of 1,000 pictures, or of half of them where there are fewer than 2,000. */
export function measureKid(real: Features, fake: Features, { protocol, subsets = 100, subsetSize, seed = 0 }: KidOptions = {}): Measurement<{ std: number; subsets: number }> {
  const size = subsetSize ?? Math.min(1000, Math.max(2, Math.floor(Math.min(real.n, fake.n) / 2)));
  const { mean, std } = kid(real, fake, { subsets, subsetSize: size, seed });
  return measurement({
    metric: 'kid', value: mean, n: fake.n, details: { std, subsets },
    protocol: { ...imageProtocol(real, fake), kernel: '(x.y / d + 1)^3, unbiased', subsets, subsetSize: size, seedPolicy: `subsets from seed ${seed}`, ...protocol },
  });
}

export const measureCmmd = (real: Features, fake: Features, { protocol, sigma = 10 }: { protocol?: Protocol; sigma?: number } = {}): Measurement =>
  measurement({ metric: 'cmmd', value: cmmd(real, fake, sigma), n: fake.n, protocol: { ...imageProtocol(real, fake), kernel: `Gaussian, sigma ${sigma}, biased, x 1000`, ...protocol } });

/** Improved precision; recall is in the details. */
export function measurePrecisionRecall(real: Features, fake: Features, { protocol, k = 3 }: { protocol?: Protocol; k?: number } = {}): Measurement<{ precision: number; recall: number }> {
  const { precision, recall } = precisionRecall(real, fake, k);
  return measurement({ metric: 'precision', value: precision, n: fake.n, protocol: { ...imageProtocol(real, fake), neighbours: k, ...protocol }, details: { precision, recall } });
}

/** Mean cosine of pictures with their texts, times 100; `details.clipScore` is Hessel's 2.5 max(cosine, 0). */
export function measureClipScore(images: Features, texts: Features, protocol?: Protocol): Measurement<{ clipScore: number; perImage: number[] }> {
  const cosines = [...pairCosines(images, texts)];
  const { mean, ci } = estimate(cosines.map((cosine) => 100 * cosine), 'pictures');
  const clipScore = cosines.reduce((total, cosine) => total + 2.5 * Math.max(0, cosine), 0) / cosines.length;
  return measurement({ metric: 'clip-score', value: mean, n: images.n, ci, details: { clipScore, perImage: cosines }, protocol: { extractor: images.extractor, size: images.n, formula: '100 cosine', ...protocol } });
}

export function measureCaptions(metric: 'cider' | 'bleu' | 'rouge', pairs: readonly CaptionPair[], protocol: Protocol): Measurement<{ perImage: number[] | number[][]; bleu?: number[] }> {
  const common = { n: pairs.length, protocol: { size: pairs.length, references: referenceCount(pairs), ...protocol } };
  if (metric === 'bleu') {
    const { corpus, perImage } = bleu(pairs);
    return measurement({ metric: 'bleu-4', value: corpus[3], ...common, protocol: { ...common.protocol, formula: 'corpus, closest length' }, details: { bleu: corpus, perImage } });
  }
  const { mean, perImage } = metric === 'cider' ? ciderD(pairs) : rougeL(pairs);
  const ci = metric === 'rouge' && perImage.length > 1 ? estimate(perImage, 'pictures').ci : undefined;
  const warnings = metric === 'cider' && pairs.length === 1 ? ['CIDEr of one picture alone is always 0.'] : [];
  const formula = metric === 'cider' ? 'CIDEr-D, n 1-4, sigma 6, x 10, frequencies of these references' : 'beta 1.2, best of the references';
  return measurement({ metric: metric === 'cider' ? 'cider-d' : 'rouge-l', value: mean, ci, warnings, ...common, protocol: { ...common.protocol, formula }, details: { perImage } });
}

function referenceCount(pairs: readonly CaptionPair[]): string {
  const counts = pairs.map(({ references }) => references.length);
  const [low, high] = [Math.min(...counts), Math.max(...counts)];
  return low === high ? `${low} a picture` : `${low} to ${high} a picture`;
}

type Groups = Record<string, { mean: number; n: number }>;

export function measureVqa(items: readonly VqaItem[], variant: VqaVariant = 'official', protocol?: Protocol): Measurement<{ perQuestion: number[]; byQuestionType: Groups; byAnswerType: Groups }> {
  const { accuracy, perQuestion } = vqaAccuracy(items, variant);
  const { ci } = estimate(perQuestion, 'questions');
  return measurement({
    metric: 'vqa-accuracy', value: accuracy, n: items.length, ci,
    protocol: { size: items.length, answers: Math.min(...items.map(({ answers }) => answers.length)), matcher: { official: 'VQA official', evalai: 'EvalAI, always normalised', containment: 'answer contained in the prediction' }[variant], ...protocol },
    details: {
      perQuestion, byQuestionType: groupMeans(perQuestion, items.map(({ questionType }) => questionType)), byAnswerType: groupMeans(perQuestion, items.map(({ answerType }) => answerType)),
    },
  });
}

/** Accuracy with POPE's other scores, and those of each split that the questions name. */
export function measurePope(items: readonly PopeItem[], protocol?: Protocol): Measurement<PopeScores & { splits: Record<string, PopeScores> }> {
  const score = (of: readonly PopeItem[]) => popeScores(of.map(({ label }) => label), of.map(({ answer }) => parseYesNo(answer)));
  const scores = score(items);
  const names = [...new Set(items.flatMap(({ split }) => split ?? []))].sort();
  return measurement({
    metric: 'pope-accuracy', value: scores.accuracy, n: items.length, ci: wilson(scores.truePositives + scores.trueNegatives, items.length),
    protocol: { size: items.length, matcher: 'first sentence; No, no, not', ...protocol },
    details: { ...scores, splits: Object.fromEntries(names.map((name) => [name, score(items.filter(({ split }) => split === name))])) },
  });
}

type MmbenchDetails = Omit<MmbenchResult, 'extracted'> & { readonly matchers: Record<keyof typeof matchers, { circular: number; vanilla: number; unparsed: number }> };

/** Circular accuracy; the details hold vanilla accuracy, the abilities and what each matcher would have read. */
export function measureMmbench(rows: readonly MmbenchRow[], predictions: ReadonlyMap<number, string>, matcher: keyof typeof matchers = 'vlmevalkit', protocol?: Protocol): Measurement<MmbenchDetails> {
  const { extracted: _, ...result } = scoreMmbench(rows, predictions, matchers[matcher]);
  const other = Object.entries(matchers).map(([name, match]) => {
    const { circular, vanilla, unparsed } = scoreMmbench(rows, predictions, match);
    return [name, { circular: circular.accuracy, vanilla: vanilla.accuracy, unparsed: unparsed.n }];
  });
  const rotated = rows.some(({ index }) => index >= 1e6);
  return measurement({
    metric: 'mmbench-circular', value: result.circular.accuracy, n: result.circular.n, ci: result.circular.ci,
    warnings: rotated ? [] : ['The questions have no rotated rows: circular accuracy equals vanilla accuracy.'],
    protocol: { size: result.circular.n, rows: rows.length, evaluation: rotated ? 'circular' : 'one rotation', matcher, ...protocol },
    details: { ...result, matchers: Object.fromEntries(other) as MmbenchDetails['matchers'] },
  });
}

export async function measureMmvet(items: readonly MmvetItem[], judges: readonly Judge[], repeats = 1, protocol?: Protocol, signal?: AbortSignal): Promise<Measurement<MmvetResult>> {
  const result = await scoreMmvet(items, judges, repeats, signal);
  const { calls, of, questions } = result.missing;
  return measurement({
    metric: 'mm-vet', value: result.total, n: result.n, ci: result.ci, details: result,
    warnings: calls > 0 ? [`${calls} of ${of} calls failed and are left out; ${questions} questions have no score.`] : [],
    protocol: { size: items.length, judge: judges.map(({ name }) => name).join(' + '), repeats, unit: 'points of 100', ...protocol },
  });
}
