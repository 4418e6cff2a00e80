import { bestOfKCurve } from './clip-score.js';
import { selectRows, type Features } from './features.js';
import { factored, frechetDistance, moments, type FactoredMoments } from './frechet.js';
import { describeDifference, protocolDifference, type Measurement } from './protocol.js';
import { random } from '../core/random.js';

/** Which way a field of a protocol is known to move a number, and how to check it. */
const hints: Record<string, string> = {
  size: 'FID falls as 1/n: 1,000 pictures can read 20 points higher than 50,000. Compare at one n, or by FID-infinity or KID.',
  referenceSize: 'A small reference adds its own bias to FID.',
  split: 'Training and validation pictures give different references.',
  dataset: 'Another data set is another question.',
  resolution: 'Resize both sides to one resolution before the extractor.',
  resize: 'Bilinear without antialiasing and bicubic with it move FID by points; clean-fid compares them.',
  guidanceScale: 'FID is lowest near scale 2 for Stable Diffusion; CLIP score grows on.',
  selection: 'Choosing the best of k by CLIP score lowers FID by points at k times the cost.',
  extractor: 'Distances of different networks or layers are different quantities.',
  matcher: 'How an answer is read moves accuracy by points; exact matching reads less than a language model does.',
  evaluation: 'Circular accuracy is below vanilla accuracy by 5 to 15 points.',
  judge: 'Judges of other versions score the same answers several points apart.',
  captionPolicy: 'One random caption a picture, the first one, or all of them give different prompts.',
  tokenizer: 'Punctuation that is kept counts as words.',
  modelScale: 'Models of different size are not comparable.',
};

/** The protocol difference of two measurements in words, with what each field is known to do. Empty when they agree. */
export function explainDifference(a: Measurement, b: Measurement): string {
  const table = describeDifference(a, b);
  if (table === '') return '';
  const known = protocolDifference(a.protocol, b.protocol).flatMap(({ field }) => (hints[field] ? [`- ${field}: ${hints[field]}`] : []));
  return [`value ${a.value} against ${b.value} (difference ${b.value - a.value})`, '', table, ...(known.length > 0 ? ['', ...known] : [])].join('\n');
}

/** One way to have made the number: features of the pictures that it measured, and of its reference. */
export interface Setting {
  readonly label: string;
  readonly reference: Features | FactoredMoments;
  readonly generated: Features;
}

export interface WaterfallStep {
  readonly label: string;
  /** FID with this step and all before it. */
  readonly value: number;
  /** What the step added. */
  readonly change: number;
}

/**
 * FID along a path of settings, from the obtained number to the reported one, each changing one thing (split, n, resize, guidance, selection).
 * The order matters where effects interact: a step's change is given those before it.
 */
export function fidWaterfall(settings: readonly Setting[]): WaterfallStep[] {
  if (settings.length < 2) throw new Error(`A waterfall needs at least two settings, found ${settings.length}.`);
  const cache = new Map<unknown, FactoredMoments>();
  const reference = (of: Setting['reference']) => {
    if ('factor' in of) return of;
    if (!cache.has(of)) cache.set(of, factored(moments(of)));
    return cache.get(of)!;
  };
  let before: number | undefined;
  return settings.map(({ label, reference: of, generated }) => {
    const value = frechetDistance(reference(of), moments(generated)).distance;
    const change = value - (before ?? value);
    before = value;
    return { label, value, change };
  });
}

/** A random subset of n rows, for the step that changes the sample size. */
export function sampleOf(from: Features, n: number, seed = 0): Features {
  if (n > from.n) throw new Error(`${from.name}: expected at least ${n} rows, found ${from.n}.`);
  return selectRows(from, random(seed, 'sample').shuffle(Array.from({ length: from.n }, (_, i) => i)).slice(0, n));
}

/** For each k, the features of the candidates with the best score. `candidates[candidate]` answers the same prompts row by row. */
export function bestOfKFeatures(candidates: readonly Features[], scores: readonly ArrayLike<number>[]): { k: number; score: number; features: Features }[] {
  if (candidates.length !== scores.length) throw new Error(`Expected scores for each of ${candidates.length} candidates, found ${scores.length}.`);
  const { dim, n } = candidates[0];
  const stacked: Features = { ...candidates[0], n: n * candidates.length, values: new Float32Array(n * candidates.length * dim) };
  candidates.forEach((candidate, i) => {
    if (candidate.n !== n || candidate.dim !== dim) throw new Error(`Candidate ${i} has [${candidate.n}, ${candidate.dim}] features, the first [${n}, ${dim}].`);
    (stacked.values as Float32Array).set(candidate.values, i * n * dim);
  });
  return bestOfKCurve(scores).map(({ k, score, chosen }) => ({ k, score, features: selectRows(stacked, chosen.map((candidate, prompt) => candidate * n + prompt), `best of ${k}`) }));
}

/** A Plotly waterfall of the steps, from the first value to the last. */
export function waterfallFigure(steps: readonly WaterfallStep[], title = 'Why does the number differ?'): { data: object[]; layout: object } {
  const last = steps.at(-1)!;
  const labels = [...steps.map(({ label }) => label), 'total'];
  return {
    data: [{
      type: 'waterfall', orientation: 'v', x: labels, y: [steps[0].value, ...steps.slice(1).map(({ change }) => change), last.value],
      measure: ['absolute', ...steps.slice(1).map(() => 'relative'), 'total'],
      text: [steps[0].value, ...steps.slice(1).map(({ change }) => change), last.value].map((value, i) => (i > 0 && i <= steps.length - 1 && value > 0 ? '+' : '') + value.toFixed(2)),
      textposition: 'outside', connector: { line: { width: 1 } },
    }],
    layout: { title: { text: title }, yaxis: { title: { text: 'FID' } }, showlegend: false },
  };
}
