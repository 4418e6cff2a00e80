import * as tf from '@tensorflow/tfjs';
import type { Fixture } from './fixture.js';

/** One compared output. */
export interface Row {
  name: string;
  shape?: number[];
  /** Largest absolute difference; 0 for exact agreement, absent where nothing could be compared. */
  worst?: number;
  tol?: number;
  ok: boolean;
  /** Why it is not ok, or what a check was about. */
  note?: string;
}

/** Numbers to compare, in the layout of the stored output. */
export type Found = tf.Tensor | { shape: readonly number[]; values: ArrayLike<number> };

/** Collects how far one fixture's numbers are from the reference. */
export class Report {
  readonly rows: Row[] = [];

  constructor(private readonly fixture: Fixture) {}

  /** Compares with the stored output of this name. Does not dispose. */
  async compare(name: string, found: Found): Promise<void> {
    const values = found instanceof tf.Tensor ? await found.data() : found.values;
    const shape = [...found.shape];
    const fail = (note: string, row: Partial<Row> = {}) => void this.rows.push({ name, shape, ok: false, note, ...row });
    if (this.rows.some((row) => row.name === name)) return fail('compared twice');
    const expected = this.fixture.outputs.get(name);
    const tol = this.fixture.meta.outputs?.[name]?.tol;
    if (!expected) return fail('not among the stored outputs');
    if (tol === undefined) return fail('meta.json gives no tolerance');
    if (shape.length !== expected.shape.length || shape.some((size, i) => size !== expected.shape[i])) {
      return fail(`expected shape [${expected.shape}], found [${shape}]`, { tol });
    }
    const worst = largestDifference(values, expected.values);
    if (Number.isNaN(worst)) return fail('NaN', { tol });
    this.rows.push({ name, shape, worst, tol, ok: worst <= tol });
  }

  /** Records a comparison that no stored output stands for. */
  check(name: string, worst: number, tol: number, note?: string): void {
    this.rows.push({ name, worst, tol, ok: worst <= tol, ...(note ? { note } : {}) });
  }

  /** Records a claim. */
  claim(name: string, ok: boolean, note?: string): void {
    this.rows.push({ name, ok, ...(note ? { note } : {}) });
  }

  /** Adds a row for every stored output that was not computed. */
  finish(): void {
    const seen = new Set(this.rows.map(({ name }) => name));
    for (const [name, { shape }] of this.fixture.outputs) if (!seen.has(name)) this.rows.push({ name, shape, ok: false, note: 'missing: this project does not compute it' });
  }
}

/** NaN if a NaN stands in one place only, or anywhere in `found` where a number is expected. Equal infinities agree. */
export function largestDifference(found: ArrayLike<number>, expected: ArrayLike<number | bigint>): number {
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = found[i];
    const b = Number(expected[i]);
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    const difference = Math.abs(a - b);
    if (!(difference <= worst)) worst = difference;
    if (Number.isNaN(worst)) return NaN;
  }
  return worst;
}
