import { inspect } from 'node:util';
import { type Problem } from '../language/checker.js';
import { type CellTraces } from './traces.js';

/** Why a cell failed, as Jupyter's `error` message and replies put it. */
export interface Failure {
  ename: string;
  evalue: string;
  traceback: string[];
}

const red = (text: string) => `\u001b[31m${text}\u001b[39m`;
const dim = (text: string) => `\u001b[2m${text}\u001b[22m`;

/** Type errors: nothing of the cell has run. */
export function typeFailure(problems: Problem[], source: string): Failure {
  const [first] = problems as [Problem, ...Problem[]];
  const evalue = `${first.message.split('\n')[0]} (line ${first.line})${problems.length > 1 ? ` and ${problems.length - 1} more` : ''}`;
  const traceback = problems.map(({ code, message, line, column, length }) => `${red(`TS${code}`)}: ${message}\n${excerpt(source, line, column, length)}`);
  return { ename: `TS${first.code}`, evalue, traceback };
}

/** An exception. Whatever can be thrown can be described. */
export function runtimeFailure(error: unknown, traces: CellTraces): Failure {
  if (!(error instanceof Error)) return { ename: 'Thrown', evalue: describe(error), traceback: [red(`Thrown: ${describe(error)}`)] };
  const { name, message } = error;
  const stack = typeof error.stack === 'string' ? error.stack : '';
  const frames = stack.split('\n').filter((line) => line.startsWith('    at '));
  const place = traces.locate(stack);
  const source = place && traces.sourceOf(place.cell);
  const traceback = [red(`${name}: ${message}`)];
  if (place && source !== undefined) traceback.push(`${dim(`${place.cell}, line ${place.line}`)}\n${excerpt(source, place.line, place.column, 1)}`);
  if (frames.length > 0) traceback.push(dim(frames.join('\n')));
  if (error.cause !== undefined) traceback.push(`Caused by: ${error.cause instanceof Error ? (error.cause.stack ?? String(error.cause)) : describe(error.cause)}`);
  return { ename: String(name), evalue: String(message), traceback };
}

function describe(value: unknown): string {
  return typeof value === 'string' ? value : inspect(value, { depth: 2 });
}

/** The line at fault, the one before it, and a mark under the columns. */
function excerpt(source: string, line: number, column: number, length: number): string {
  const lines = source.split('\n');
  const width = String(line).length;
  const numbered = (n: number) => `${String(n).padStart(width)} | ${lines[n - 1] ?? ''}`;
  const mark = `${' '.repeat(width)} | ${' '.repeat(column - 1)}${red('^'.repeat(Math.max(1, length)))}`;
  return [...(line > 1 ? [dim(numbered(line - 1))] : []), numbered(line), mark].join('\n');
}
