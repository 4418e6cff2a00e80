import { random, type Path } from '../../core/random.js';
import type { Source } from '../batches.js';

/** Every `count`-th record, from the `worker`-th on: each of `count` workers reads its own part, and together they read all. */
export async function* shard<T>(source: AsyncIterable<T> | Iterable<T>, worker: number, count: number): AsyncGenerator<T> {
  if (!(Number.isInteger(count) && count > 0 && Number.isInteger(worker) && worker >= 0 && worker < count)) throw new Error(`Expected a worker below ${count}, found ${worker}.`);
  let i = 0;
  for await (const record of source) if (i++ % count === worker) yield record;
}

/**
 * Shuffles a stream through a buffer of `size` records (webdataset's way; the paper's code uses 1000): a random record leaves the buffer whenever a
 * new one comes. The same source, seed and path give the same order.
 */
export async function* shuffleBuffer<T>(source: AsyncIterable<T> | Iterable<T>, size: number, seed: number, ...path: Path): AsyncGenerator<T> {
  if (!(Number.isInteger(size) && size > 0)) throw new Error(`Expected a buffer of at least one record, found ${size}.`);
  const stream = random(seed, 'shuffle buffer', ...path);
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

/** A source that reads its records when they are asked for. */
export interface StreamSource<T> extends Source<Promise<T>> {
  /** Records of one pass. */
  records: number;
  close(): Promise<void>;
}

/**
 * A stream of `records` records as a source to mix, without end: `open(pass)` begins it anew for each pass, in an order of its own if it likes. Only the place is kept,
 * so asking for the records one after the other reads each once, and asking for another reads on, or from the beginning of its pass. A pass of another length is an error.
 */
export function streamSource<T>(name: string, weight: number, records: number, open: (pass: number) => AsyncGenerator<T>): StreamSource<T> {
  if (records < 1) throw new Error(`Source "${name}" has no records.`);
  let reading: AsyncGenerator<T> | undefined;
  let [pass, next] = [0, 0];
  const close = async () => {
    await reading?.return(undefined);
    reading = undefined;
  };
  const changed = (found: string) => new Error(`Source "${name}": expected ${records} records in pass ${pass + 1}, found ${found}. Leave the files as they are while a training reads them.`);
  const take = async (index: number): Promise<T> => {
    const place = index % records;
    if (!reading || pass !== Math.floor(index / records) || place < next) {
      await close();
      [pass, next] = [Math.floor(index / records), 0];
      reading = open(pass);
    }
    for (;;) {
      const { done, value } = await reading.next();
      if (done) throw changed(String(next));
      if (next++ < place) continue;
      if (next === records && !(await reading.next()).done) throw changed('more');
      return value;
    }
  };
  let turn: Promise<unknown> = Promise.resolve();
  /** One after the other: a batch asks for several at once. */
  const queued = <R>(run: () => Promise<R>): Promise<R> => {
    const result = turn.then(run);
    turn = result.catch(() => {}); // whoever asked hears of it
    return result;
  };
  return { name, weight, records, at: (index) => queued(() => take(index)), close: () => queued(close) };
}

/** All records of a stream. */
export async function collect<T>(source: AsyncIterable<T> | Iterable<T>): Promise<T[]> {
  const records: T[] = [];
  for await (const record of source) records.push(record);
  return records;
}
