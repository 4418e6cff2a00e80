/** A value of a protocol field. `null` says "does not apply"; a field that is absent says "not stated". */
export type ProtocolValue = string | number | boolean | null;

/**
 * How a number was made. Two numbers may stand in one column only when their protocols are the same.
 * The named fields are the ones that published numbers are known to differ by; a metric adds its own.
 */
export interface Protocol {
  readonly dataset?: ProtocolValue;
  readonly split?: ProtocolValue;
  /** Items that were scored: pictures, questions, documents. */
  readonly size?: ProtocolValue;
  readonly captionPolicy?: ProtocolValue;
  /** Such as `fixed 0..4` or `one per sample, named by index`; the seeds themselves are not part of it. */
  readonly seedPolicy?: ProtocolValue;
  readonly resolution?: ProtocolValue;
  readonly resize?: ProtocolValue;
  readonly sampler?: ProtocolValue;
  readonly steps?: ProtocolValue;
  readonly guidanceScale?: ProtocolValue;
  /** `single`, or `best-of-8 by CLIP score`. */
  readonly selection?: ProtocolValue;
  /** Network and layer, with the hash of its weights: `inception-mixed5@1f2e3d4c`. */
  readonly extractor?: ProtocolValue;
  /** How a generated answer was read: `letter`, `text`, `vlmevalkit`, `log-likelihood`. */
  readonly matcher?: ProtocolValue;
  readonly prompt?: ProtocolValue;
  readonly judge?: ProtocolValue;
  /** The size of the model that was measured, such as `nano` or `7B`: they never share a column. */
  readonly modelScale?: ProtocolValue;
  readonly [field: string]: ProtocolValue | undefined;
}

/** An interval and what it covers, since readers take one kind of ± for another. */
export interface Interval {
  readonly low: number;
  readonly high: number;
  /** Such as 0.95. */
  readonly level: number;
  /** Such as `Wilson` or `Student t`. */
  readonly method: string;
  /** What varies: `questions`, `seeds`, `subsets`, `judge calls`. */
  readonly source: string;
}

export interface Measurement<Details = unknown> {
  readonly metric: string;
  readonly value: number;
  /** Items behind the value. */
  readonly n: number;
  readonly ci?: Interval;
  readonly protocol: Protocol;
  /** Doubts that a reader must see beside the number. */
  readonly warnings?: readonly string[];
  readonly details?: Details;
}

/** Builds a measurement; a value that is not finite, or an `n` that is no count, is an error and never a result. */
export function measurement<Details = unknown>(made: Measurement<Details>): Measurement<Details> {
  const { metric, value, n, ci } = made;
  if (!Number.isFinite(value)) throw new Error(`${metric}: expected a finite value, found ${value}. Check its inputs for empty or non-finite rows.`);
  if (!Number.isInteger(n) || n < 1) throw new Error(`${metric}: expected at least one scored item, found n = ${n}.`);
  if (ci && !(ci.low <= ci.high)) throw new Error(`${metric}: expected an interval with low <= high, found [${ci.low}, ${ci.high}].`);
  return made;
}

export interface Difference {
  readonly field: string;
  readonly a: ProtocolValue | undefined;
  readonly b: ProtocolValue | undefined;
}

/** The fields in which two protocols differ, in the order of the first. */
export function protocolDifference(a: Protocol, b: Protocol): Difference[] {
  const fields = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  return fields.filter((field) => a[field] !== b[field]).map((field) => ({ field, a: a[field], b: b[field] }));
}

/** The difference between two measurements as aligned lines; the metric counts as a field. Empty when there is none. */
export function describeDifference(a: Measurement, b: Measurement): string {
  const differences = protocolDifference({ metric: a.metric, ...a.protocol }, { metric: b.metric, ...b.protocol });
  const text = (value: ProtocolValue | undefined) => (value === undefined ? '(not stated)' : value === null ? '(does not apply)' : String(value));
  const width = Math.max(0, ...differences.map(({ field }) => field.length));
  const widthA = Math.max(0, ...differences.map((difference) => text(difference.a).length));
  return differences.map((d) => `${d.field.padEnd(width)}  ${text(d.a).padEnd(widthA)}  |  ${text(d.b)}`).join('\n');
}

/** Two protocols were about to share a column. */
export class ProtocolMismatch extends Error {
  constructor(readonly a: Measurement, readonly b: Measurement) {
    super(`These numbers may not share a column, for their protocols differ:\n${describeDifference(a, b)}\nGive each its own column, or measure again with one protocol.`);
  }
}

/** The measurements, when they may stand in one column; otherwise a `ProtocolMismatch` that prints the difference. */
export function column<M extends Measurement>(measurements: readonly M[]): readonly M[] {
  const [first, ...rest] = measurements;
  for (const other of rest) if (describeDifference(first, other)) throw new ProtocolMismatch(first, other);
  return measurements;
}

/** A stable key of metric and protocol: measurements with the same key may share a column. */
export function columnKey({ metric, protocol }: Measurement): string {
  const stated = Object.entries(protocol).filter(([, value]) => value !== undefined);
  return JSON.stringify([metric, stated.sort(([a], [b]) => (a < b ? -1 : 1))]);
}

/** Reads a measurement from JSON; `from` names it in errors. */
export function parseMeasurement(json: string, from: string): Measurement {
  let parsed: Partial<Measurement>;
  try {
    parsed = JSON.parse(json) as Partial<Measurement>;
  } catch (error) {
    throw new Error(`${from}: expected the JSON of a measurement, found ${(error as Error).message}.`);
  }
  const { metric, value, n, protocol } = parsed ?? {};
  const isProtocol = typeof protocol === 'object' && protocol !== null && Object.values(protocol).every((field) => field === null || typeof field !== 'object');
  if (typeof metric !== 'string' || typeof value !== 'number' || typeof n !== 'number' || !isProtocol) {
    throw new Error(`${from}: expected { metric, value, n, protocol } with a flat protocol, found keys ${Object.keys(parsed ?? {}).join(', ') || 'none'}.`);
  }
  return measurement(parsed as Measurement);
}
