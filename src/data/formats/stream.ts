import { random } from '../../core/random.js';
import type { Source } from '../batches.js';

/** Every `count`-th record, from the `worker`-th on: each of `count` workers reads its own part, and together they read all. */
export async function* shard<T>(source: AsyncIterable<T> | Iterable<T>, worker: number, count: number): AsyncGenerator<T> {
  if (!(Number.isInteger(count) && count > 0 && Number.isInteger(worker) && worker >= 0 && worker < count)) throw new Error(`Expected a worker below ${count}, found ${worker}.`);
  let i = 0;
  for await (const record of source) if (i++ % count === worker) yield record;
}

/**
 * Shuffles a stream through a buffer of `size` records (webdataset's way; the paper's code uses 1000): a random record leaves the buffer whenever a
 * new one comes. The same source and seed give the same order.
 */
export async function* shuffleBuffer<T>(source: AsyncIterable<T> | Iterable<T>, size: number, seed: number): AsyncGenerator<T> {
  if (!(Number.isInteger(size) && size > 0)) throw new Error(`Expected a buffer of at least one record, found ${size}.`);
  const stream = random(seed, 'shuffle buffer');
  const buffer: T[] = [];
  for await (const record of source) {
    if (buffer.length < size) {
      buffer.push(record);
      continue;
    }
    const i = stream.integer(size);
    yield buffer[i];
    buffer[i] = record;
  }
  yield* stream.shuffle(buffer);
}

/** Records from files as a source to mix: gone through in shuffled order, every record once in each pass. Pictures stay in their files until used. */
export async function sourceOf<T>(name: string, weight: number, records: AsyncIterable<T> | Iterable<T>): Promise<Source<T>> {
  const list = await collect(records);
  if (list.length === 0) throw new Error(`Source "${name}" has no records.`);
  return { name, weight, size: list.length, at: (index) => list[index] };
}

/** All records of a stream. */
export async function collect<T>(source: AsyncIterable<T> | Iterable<T>): Promise<T[]> {
  const records: T[] = [];
  for await (const record of source) records.push(record);
  return records;
}
