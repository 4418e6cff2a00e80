/** One picture's candidate and references, as tokens. */
export interface CaptionPair {
  readonly id: string | number;
  readonly candidate: readonly string[];
  readonly references: readonly (readonly string[])[];
}

const orders = 4;

/** Counts of n-grams by their text, one map for each n = 1..4. */
function ngrams(tokens: readonly string[]): Map<string, number>[] {
  return Array.from({ length: orders }, (_, order) => {
    const counts = new Map<string, number>();
    for (let i = 0; i + order < tokens.length; i++) {
      const gram = tokens.slice(i, i + order + 1).join(' ');
      counts.set(gram, (counts.get(gram) ?? 0) + 1);
    }
    return counts;
  });
}

export interface Bleu {
  /** BLEU-1 to BLEU-4 of the corpus. */
  readonly corpus: number[];
  /** For each picture, BLEU-1 to BLEU-4. */
  readonly perImage: number[][];
}

/** BLEU (Papineni et al. 2002) with the closest reference length and the tiny constants of coco-caption, which decide how a 0 of one order looks. */
export function bleu(pairs: readonly CaptionPair[]): Bleu {
  checkPairs(pairs, 'BLEU');
  const total = { correct: new Array<number>(orders).fill(0), guesses: new Array<number>(orders).fill(0), length: 0, reference: 0 };
  const perImage = pairs.map(({ candidate, references }) => {
    const length = candidate.length;
    const reference = references.map((tokens) => tokens.length).reduce((best, next) =>
      Math.abs(next - length) < Math.abs(best - length) || (Math.abs(next - length) === Math.abs(best - length) && next < best) ? next : best);
    const counts = references.map(ngrams);
    const correct = ngrams(candidate).map((grams, order) => {
      let matched = 0;
      for (const [gram, count] of grams) matched += Math.min(count, Math.max(...counts.map((of) => of[order].get(gram) ?? 0)));
      return matched;
    });
    const guesses = correct.map((_, order) => Math.max(0, length - order));
    total.length += length;
    total.reference += reference;
    for (let order = 0; order < orders; order++) {
      total.correct[order] += correct[order];
      total.guesses[order] += guesses[order];
    }
    return bleuOf(correct, guesses, length, reference);
  });
  return { corpus: bleuOf(total.correct, total.guesses, total.length, total.reference), perImage };
}

function bleuOf(correct: number[], guesses: number[], length: number, reference: number): number[] {
  const ratio = (length + 1e-15) / (reference + 1e-9);
  const brevity = ratio < 1 ? Math.exp(1 - 1 / ratio) : 1;
  let product = 1;
  return correct.map((count, order) => {
    product *= (count + 1e-15) / (guesses[order] + 1e-9);
    return product ** (1 / (order + 1)) * brevity;
  });
}

export interface Scores {
  readonly mean: number;
  readonly perImage: number[];
}

/** ROUGE-L (Lin 2004) with beta 1.2; precision and recall are each the best over the references, as in coco-caption. */
export function rougeL(pairs: readonly CaptionPair[]): Scores {
  checkPairs(pairs, 'ROUGE-L');
  const beta2 = 1.2 ** 2;
  return averaged(pairs.map(({ candidate, references }) => {
    const common = references.map((reference) => commonSubsequence(candidate, reference));
    const precision = Math.max(...common.map((length) => length / Math.max(1, candidate.length)));
    const recall = Math.max(...common.map((length, i) => length / Math.max(1, references[i].length)));
    return precision === 0 || recall === 0 ? 0 : ((1 + beta2) * precision * recall) / (recall + beta2 * precision);
  }));
}

function commonSubsequence(a: readonly string[], b: readonly string[]): number {
  let row = new Array<number>(b.length + 1).fill(0);
  for (const token of a) {
    const next = [0];
    for (let j = 0; j < b.length; j++) next.push(token === b[j] ? row[j] + 1 : Math.max(row[j + 1], next[j]));
    row = next;
  }
  return row[b.length];
}

/**
 * CIDEr-D (Vedantam et al. 2015), n = 1..4, sigma 6, times 10, with document frequencies from these references. As in the reference code, a
 * sentence's "length" is its number of bigrams. One picture alone scores 0, since every n-gram then occurs in every document.
 */
export function ciderD(pairs: readonly CaptionPair[], sigma = 6): Scores {
  checkPairs(pairs, 'CIDEr');
  const frequency = new Map<string, number>();
  const counted = pairs.map(({ candidate, references }) => ({ candidate: ngrams(candidate), references: references.map(ngrams) }));
  for (const { references } of counted) {
    const seen = new Set(references.flatMap((orders) => orders.flatMap((grams) => [...grams.keys()])));
    for (const gram of seen) frequency.set(gram, (frequency.get(gram) ?? 0) + 1);
  }
  const documents = Math.log(pairs.length);
  const weigh = (grams: Map<string, number>[]) => {
    const vectors = grams.map((counts) => new Map([...counts].map(([gram, count]) => [gram, count * (documents - Math.log(Math.max(1, frequency.get(gram) ?? 0)))])));
    const norms = vectors.map((vector) => Math.sqrt([...vector.values()].reduce((total, weight) => total + weight ** 2, 0)));
    return { vectors, norms, length: [...grams[1].values()].reduce((a, b) => a + b, 0) };
  };
  return averaged(counted.map(({ candidate, references }) => {
    const hypothesis = weigh(candidate);
    let total = 0;
    for (const reference of references.map(weigh)) {
      const penalty = Math.exp(-((hypothesis.length - reference.length) ** 2) / (2 * sigma ** 2));
      for (let order = 0; order < orders; order++) {
        let similarity = 0;
        for (const [gram, weight] of hypothesis.vectors[order]) {
          const other = reference.vectors[order].get(gram) ?? 0;
          similarity += Math.min(weight, other) * other;
        }
        const norm = hypothesis.norms[order] * reference.norms[order];
        total += (norm === 0 ? similarity : similarity / norm) * penalty;
      }
    }
    return (10 * total) / (orders * references.length);
  }));
}

const averaged = (perImage: number[]): Scores => ({ mean: perImage.reduce((a, b) => a + b, 0) / perImage.length, perImage });

function checkPairs(pairs: readonly CaptionPair[], metric: string): void {
  if (pairs.length === 0) throw new Error(`${metric}: expected at least one picture with a candidate and references, found none.`);
  for (const { id, references } of pairs) if (references.length === 0) throw new Error(`${metric}: picture ${id} has no reference caption.`);
}
