import { checkComparable, type Features } from './features.js';

/** Cosine of each picture's embedding with its own text's: rows correspond. */
export function pairCosines(images: Features, texts: Features): Float64Array {
  checkComparable(images, texts);
  if (images.n !== texts.n) throw new Error(`${images.name} has ${images.n} rows and ${texts.name} has ${texts.n}: a CLIP score needs one text for each picture.`);
  const { n, dim } = images;
  return Float64Array.from({ length: n }, (_, r) => {
    let product = 0, squaredImage = 0, squaredText = 0;
    for (let c = r * dim; c < (r + 1) * dim; c++) {
      product += images.values[c] * texts.values[c];
      squaredImage += images.values[c] ** 2;
      squaredText += texts.values[c] ** 2;
    }
    if (squaredImage === 0 || squaredText === 0) throw new Error(`${squaredImage === 0 ? images.name : texts.name}: row ${r} is all zero and has no direction.`);
    return product / Math.sqrt(squaredImage * squaredText);
  });
}

/** CLIPScore of Hessel et al. 2021: 2.5 max(cosine, 0), one value a pair. */
export const clipScores = (images: Features, texts: Features): Float64Array => pairCosines(images, texts).map((cosine) => 2.5 * Math.max(0, cosine));

export interface BestOfK {
  readonly k: number;
  /** Mean of the best score over k candidates, expected over which k of all candidates were drawn. */
  readonly score: number;
  /** For each prompt, which of its first k candidates scores highest. */
  readonly chosen: Int32Array;
}

/** How the selected score grows with the number of candidates. `scores[candidate][prompt]`. */
export function bestOfKCurve(scores: readonly ArrayLike<number>[]): BestOfK[] {
  const candidates = scores.length;
  const prompts = scores[0]?.length ?? 0;
  if (prompts === 0) throw new Error('bestOfKCurve: expected scores[candidate][prompt] with at least one of each.');
  scores.forEach((row, i) => {
    if (row.length !== prompts) throw new Error(`bestOfKCurve: candidate ${i} has ${row.length} scores, the first has ${prompts}: all must answer the same prompts.`);
  });
  const expected = new Float64Array(candidates + 1);
  for (let prompt = 0; prompt < prompts; prompt++) {
    const sorted = Float64Array.from(scores, (row) => row[prompt]).sort();
    for (let k = 1; k <= candidates; k++) {
      // The i-th smallest is the largest of k draws without replacement with probability C(i, k - 1) / C(candidates, k).
      let weight = k / candidates;
      for (let i = candidates - 1; i >= k - 1; i--) {
        expected[k] += weight * sorted[i];
        weight *= (i - k + 1) / i;
      }
    }
  }
  return Array.from({ length: candidates }, (_, i) => i + 1).map((k) => ({
    k,
    score: expected[k] / prompts,
    chosen: Int32Array.from({ length: prompts }, (_, prompt) => {
      let best = 0;
      for (let candidate = 1; candidate < k; candidate++) if (scores[candidate][prompt] > scores[best][prompt]) best = candidate;
      return best;
    }),
  }));
}
