import { type Checked, type Completeness, type Completion } from './checker.js';

/** Questions to the language worker, and their answers, by kind. Positions are UTF-16 units. */
export interface Questions {
  check: { ask: { source: string; name: string }; answer: Checked };
  complete: { ask: { source: string; position: number }; answer: Completion };
  inspect: { ask: { source: string; position: number }; answer: string | undefined };
  completeness: { ask: { source: string }; answer: Completeness };
}

export type Ask = { [K in keyof Questions]: { id: number; kind: K; ask: Questions[K]['ask'] } }[keyof Questions];
export type Answer = { id: number; answer: unknown } | { id: number; error: string };
