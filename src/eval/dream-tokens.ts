import { wilson } from './statistics.js';
import type { Interval } from './protocol.js';

/** A held-out interleaved document, read once with its own text: what the model said at each place where a picture may begin. */
export interface DreamPredictions {
  readonly id: string | number;
  /** One entry a place (such as the end of a sentence): whether the document has a picture there. */
  readonly hasPicture: readonly boolean[];
  /** Whether `<dream>` was the model's most likely next token there. */
  readonly isTop: readonly boolean[];
  /** Probability of `<dream>` as the next token there. */
  readonly probability: readonly number[];
}

export interface DreamTokenScores {
  /** Of the places where the model would have drawn, how many have a picture; of the pictures, how many it would have drawn. */
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  readonly recallCi: Interval;
  /** Of a document's k pictures, how many are among its k most likely places: what remains when only the threshold is off. */
  readonly placement: number;
  readonly placementCi: Interval;
  /** The placement that drawing at random places would reach. */
  readonly placementChance: number;
  readonly documents: number;
  readonly places: number;
  readonly pictures: number;
}

/** How well a model decides where pictures belong. A ratio without cases is 0. */
export function dreamTokenScores(documents: readonly DreamPredictions[]): DreamTokenScores {
  let [hits, drawn, pictures, places, placed, chance] = [0, 0, 0, 0, 0, 0];
  for (const { id, hasPicture, isTop, probability } of documents) {
    if (isTop.length !== hasPicture.length || probability.length !== hasPicture.length) {
      throw new Error(`Document ${id}: expected one prediction a place, found ${isTop.length} and ${probability.length} for ${hasPicture.length} places.`);
    }
    const wrong = probability.findIndex((value) => !(value >= 0 && value <= 1));
    if (wrong >= 0) throw new Error(`Document ${id}: the probability at place ${wrong} is ${probability[wrong]}.`);
    const here = hasPicture.filter(Boolean).length;
    pictures += here;
    places += hasPicture.length;
    drawn += isTop.filter(Boolean).length;
    hits += hasPicture.filter((has, i) => has && isTop[i]).length;
    if (here > 0) chance += here ** 2 / hasPicture.length;
    const likely = probability.map((value, i) => ({ value, i })).sort((a, b) => b.value - a.value || a.i - b.i).slice(0, here);
    placed += likely.filter(({ i }) => hasPicture[i]).length;
  }
  if (pictures === 0) throw new Error(`Expected documents with pictures, found none in ${documents.length}.`);
  const precision = drawn === 0 ? 0 : hits / drawn;
  const recall = hits / pictures;
  return {
    precision, recall, f1: precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall), recallCi: wilson(hits, pictures, 0.95, 'pictures'),
    placement: placed / pictures, placementCi: wilson(placed, pictures, 0.95, 'pictures'), placementChance: chance / pictures,
    documents: documents.length, places, pictures,
  };
}
