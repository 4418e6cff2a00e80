import { random } from '../core/random.js';

/**
 * An endless list of samples that are made on demand: `at(index)` gives the same sample whenever it is asked. Nothing is stored, so a run
 * resumes with its step number alone.
 */
export interface Source<T> {
  name: string;
  /** How often this source is drawn, in proportion: the paper mixes in proportion to the sizes of its data sets. */
  weight: number;
  at(index: number): T;
}

export interface Mixture<T> {
  names: string[];
  /** Sample `index` of the mixture. */
  at(index: number): T;
  /** From which source sample `index` comes, and which of it. */
  locate(index: number): { source: number; index: number };
  /** Samples of batch `step`: those from `step · batchSize` on. */
  batch(step: number, batchSize: number): T[];
}

const blockSize = 256;
const goldenRatio = 0.6180339887498949;

/**
 * Mixes sources in proportion to their weights. The mixture runs in shuffled blocks of 256 samples, of which each source has its share to within
 * one sample (and exactly in the long run), and a source's samples are taken one after the other.
 */
export function mixture<T>(sources: readonly Source<T>[], seed: number): Mixture<T> {
  for (const { name, weight } of sources) {
    if (!(Number.isFinite(weight) && weight >= 0)) throw new Error(`Source "${name}": expected a weight of 0 or more, found ${weight}.`);
  }
  const usable = sources.filter(({ weight }) => weight > 0);
  if (usable.length === 0) throw new Error(`A mixture needs a source with positive weight; found none among ${sources.length}.`);
  const total = usable.reduce((sum, { weight }) => sum + weight, 0);
  let sum = 0;
  const ends = usable.map(({ weight }) => ((sum += weight) / total) * blockSize);
  ends[ends.length - 1] = blockSize;

  /** How many samples of a block each source has: systematic sampling, with an offset that goes round. */
  const countsIn = (block: number): number[] => {
    const offset = ((block + 1) * goldenRatio) % 1;
    let before = 0;
    return ends.map((end, i) => {
      const upTo = i === ends.length - 1 ? blockSize : Math.ceil(Math.max(0, end - offset));
      const count = upTo - before;
      before = upTo;
      return count;
    });
  };

  // Samples of each source before each block, found as far as they are asked for.
  const before: number[][] = [usable.map(() => 0)];
  const beforeBlock = (block: number): number[] => {
    while (before.length <= block) {
      const last = before.length - 1;
      const counts = countsIn(last);
      before.push(before[last].map((count, i) => count + counts[i]));
    }
    return before[block];
  };

  let current: { block: number; places: { source: number; index: number }[] } | undefined;
  const placesIn = (block: number) => {
    if (current?.block !== block) {
      const order = random(seed, 'mixture', block).shuffle(countsIn(block).flatMap((count, source) => Array<number>(count).fill(source)));
      const next = [...beforeBlock(block)];
      current = { block, places: order.map((source) => ({ source, index: next[source]++ })) };
    }
    return current.places;
  };

  const locate = (index: number) => placesIn(Math.floor(index / blockSize))[index % blockSize];
  const at = (index: number) => {
    const place = locate(index);
    return usable[place.source].at(place.index);
  };
  return { names: usable.map(({ name }) => name), at, locate, batch: (step, batchSize) => Array.from({ length: batchSize }, (_, i) => at(step * batchSize + i)) };
}
