import { random } from '../core/random.js';

/**
 * An endless list of samples that are made on demand: `at(index)` gives the same sample whenever it is asked. Nothing is stored, so a run
 * resumes with its step number alone.
 */
export interface Source<T> {
  name: string;
  /** How often this source is drawn, in proportion: the paper mixes in proportion to the sizes of its data sets. */
  weight: number;
  /** Size of a finite source: later indices go round again, in another order each time. Endless when absent. */
  size?: number;
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

/**
 * Mixes sources in proportion to their weights. Sample i is drawn by a stream named by `seed` and i; an endless source gets i as its index, a
 * finite one goes through a shuffled order of its own, one pass after the other.
 */
export function mixture<T>(sources: readonly Source<T>[], seed: number): Mixture<T> {
  const usable = sources.filter(({ weight }) => weight > 0);
  if (usable.length === 0) throw new Error(`A mixture needs a source with positive weight; found ${sources.length} sources.`);
  for (const { name, size, weight } of usable) {
    if (!Number.isFinite(weight)) throw new Error(`Source "${name}": expected a finite weight, found ${weight}.`);
    if (size !== undefined && !(Number.isInteger(size) && size > 0)) throw new Error(`Source "${name}": expected a positive whole size, found ${size}.`);
  }
  const total = usable.reduce((sum, { weight }) => sum + weight, 0);
  const locate = (index: number) => {
    let draw = random(seed, 'mixture', index).uniform() * total;
    let source = usable.findIndex(({ weight }) => (draw -= weight) < 0);
    if (source < 0) source = usable.length - 1;
    const { size, name } = usable[source];
    return { source, index: size === undefined ? index : permuted(finiteIndex(index, usable[source].weight / total), size, seed, name) };
  };
  const at = (index: number) => {
    const place = locate(index);
    return usable[place.source].at(place.index);
  };
  return { names: usable.map(({ name }) => name), at, locate, batch: (step, batchSize) => Array.from({ length: batchSize }, (_, i) => at(step * batchSize + i)) };

  /** About how many samples the source has given before: its share of the mixture so far. Exact for a source that is alone. */
  function finiteIndex(index: number, share: number): number {
    return Math.floor(index * share);
  }
}

/** Position `index` of an endless run through `size` items, shuffled anew in each pass. */
function permuted(index: number, size: number, seed: number, name: string): number {
  const pass = Math.floor(index / size);
  const order = orderOf(size, seed, name, pass);
  return order[index % size];
}

const orders = new Map<string, Uint32Array>();

function orderOf(size: number, seed: number, name: string, pass: number): Uint32Array {
  const key = `${size}/${seed}/${name}/${pass}`;
  let order = orders.get(key);
  if (!order) {
    const stream = random(seed, 'order', name, pass);
    order = Uint32Array.from({ length: size }, (_, i) => i);
    for (let i = size - 1; i > 0; i--) {
      const j = stream.integer(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    if (orders.size > 16) orders.clear();
    orders.set(key, order);
  }
  return order;
}
