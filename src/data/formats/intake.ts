import type { ImageRef } from '../types.js';

/** Where a record stands in the files it was read from. */
export interface Place {
  file: string;
  /** Line on which the record begins, from 1. */
  line?: number;
  /** Name inside an archive, or row of a table. */
  member?: string;
}

/** A record that is not as its format says. The message names its place. */
export class MalformedRecord extends Error {
  constructor(readonly place: Place, readonly reason: string) {
    const { file, line, member } = place;
    super(`${file}${line === undefined ? '' : `:${line}`}${member === undefined ? '' : ` (${member})`}: ${reason}`);
  }
}

/** Finds the picture that a record names; undefined when there is none of that name. */
export type ResolvePicture = (name: string) => ImageRef | undefined;

/** What to do with malformed records: `stop` at the first, or skip them as long as they are at most this share of all. */
export type MalformedPolicy = 'stop' | { skipUpTo: number };

/** Counts what a reader takes in and what it must leave out. Hand the same one to several readers to count over all of them. */
export class Intake {
  accepted = 0;
  rejected = 0;
  /** Pictures that a record names but that could not be found, where the format lets the record go on without them. */
  numMissing = 0;
  /** The first `kept` malformed records, and missing pictures by place and name. */
  readonly problems: MalformedRecord[] = [];
  readonly missing: string[] = [];

  constructor(readonly policy: MalformedPolicy = 'stop', private readonly kept = Infinity) {
    if (policy !== 'stop' && !(policy.skipUpTo >= 0 && policy.skipUpTo < 1)) throw new Error(`Expected a share of 0 to 1 to skip up to, found ${policy.skipUpTo}.`);
  }

  get skippedShare(): number {
    return this.rejected / Math.max(1, this.rejected + this.accepted);
  }

  /** The result of `parse`, or undefined when it throws `MalformedRecord` and the policy allows to skip. Other errors pass. */
  take<T>(parse: () => T): T | undefined {
    try {
      const value = parse();
      this.accepted++;
      return value;
    } catch (error) {
      if (!(error instanceof MalformedRecord)) throw error;
      this.reject(error);
      return undefined;
    }
  }

  /** Passes pieces on; one that cannot be read, and with it all that follows, is a malformed record like any other. */
  async *whole<T>(pieces: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* pieces;
    } catch (error) {
      if (!(error instanceof MalformedRecord)) throw error;
      this.reject(error);
    }
  }

  reject(problem: MalformedRecord): void {
    if (this.policy === 'stop') throw problem;
    this.rejected++;
    if (this.problems.length < this.kept) this.problems.push(problem);
    // A bad beginning is judged only once a hundred records give a share some meaning.
    if (this.accepted + this.rejected >= 100) this.checkShare();
  }

  /** Counts a picture that could not be found. */
  miss(picture: string): void {
    this.numMissing++;
    if (this.missing.length < this.kept) this.missing.push(picture);
  }

  /** Counts a record that was taken in as malformed after all, because of what its files hold. */
  recant(problem: MalformedRecord): void {
    this.accepted--;
    this.reject(problem);
  }

  /** To be called at the end of the input: small inputs are judged here. */
  finish(): void {
    if (this.policy !== 'stop') this.checkShare();
  }

  private checkShare(): void {
    const { policy, problems, accepted, rejected, skippedShare } = this;
    if (policy === 'stop' || skippedShare <= policy.skipUpTo) return;
    throw new Error(
      `${rejected} of ${rejected + accepted} records are malformed (${(100 * skippedShare).toFixed(1)} %), ` +
        `more than the ${(100 * policy.skipUpTo).toFixed(1)} % to be skipped. First: ${problems[0].message}`,
    );
  }
}

/** Checks of parsed JSON, which name what was expected and found. */
export class Checker {
  constructor(readonly place: Place) {}

  fail(reason: string): never {
    throw new MalformedRecord(this.place, reason);
  }

  json(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch (error) {
      return this.fail(`not JSON: ${(error as Error).message}`);
    }
  }

  object(value: unknown, what: string): Record<string, unknown> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return this.fail(`${what}: expected an object, found ${show(value)}`);
    return value as Record<string, unknown>;
  }

  list(value: unknown, what: string): unknown[] {
    return Array.isArray(value) ? value : this.fail(`${what}: expected a list, found ${show(value)}`);
  }

  text(value: unknown, what: string): string {
    return typeof value === 'string' ? value : this.fail(`${what}: expected text, found ${show(value)}`);
  }

  number(value: unknown, what: string): number {
    return typeof value === 'number' && Number.isFinite(value) ? value : this.fail(`${what}: expected a number, found ${show(value)}`);
  }

  index(value: unknown, what: string, count: number): number {
    const isIndex = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < count;
    return isIndex ? value : this.fail(`${what}: expected a whole number below ${count}, found ${show(value)}`);
  }
}

const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
};
