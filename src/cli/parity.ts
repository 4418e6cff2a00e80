import * as tf from '@tensorflow/tfjs';
import { backendNames, useBackend } from '../core/backend.js';
import { UsageError, type Command } from './command.js';
import { fixtureFolders, type Fixture } from './parity/fixture.js';
import { kinds } from './parity/kinds.js';
import { Report, type Row } from './parity/report.js';

export interface FixtureResult {
  fixture: string;
  folder: string;
  kind: string;
  backend: string;
  seconds: number;
  ok: boolean;
  outputs: Row[];
}

/** Runs one fixture. What it throws becomes a row that is not ok. */
export async function runFixture(fixture: Fixture): Promise<FixtureResult> {
  const kind = kinds.find((kind) => kind.matches(fixture));
  const report = new Report(fixture);
  const start = performance.now();
  if (!kind) report.claim('(kind)', false, `no runner knows this fixture. Known are ${kinds.map(({ name }) => name).join(', ')}.`);
  else {
    const variables = new Set(Object.values(tf.engine().state.registeredVariables));
    tf.engine().startScope(fixture.name);
    try {
      await kind.run(fixture, report);
      report.finish();
    } catch (error) {
      report.claim('(run)', false, (error as Error).message);
    } finally {
      tf.engine().endScope();
      tf.dispose(Object.values(tf.engine().state.registeredVariables).filter((variable) => !variables.has(variable)));
    }
  }
  const ok = report.rows.length > 0 && report.rows.every((row) => row.ok);
  const seconds = (performance.now() - start) / 1000;
  return { fixture: fixture.name, folder: fixture.folder, kind: kind?.name ?? 'unknown', backend: tf.getBackend(), seconds, ok, outputs: report.rows };
}

const digits = (x: number | undefined) => (x === undefined ? '' : x === 0 ? '0' : x.toExponential(1));

/** One line an output: worst error, tolerance, and their ratio. */
function table({ fixture, kind, backend, seconds, ok, outputs }: FixtureResult, onlyFailures: boolean): string {
  const shown = outputs.filter((row) => !onlyFailures || !row.ok);
  const width = Math.max(0, ...shown.map(({ name }) => name.length));
  const lines = shown.map(({ name, worst, tol, ok, note }) =>
    `  ${ok ? 'ok  ' : 'FAIL'}  ${name.padEnd(width)}  ${digits(worst).padStart(8)}  ${digits(tol).padStart(8)}${note ? `  ${note}` : ''}`.trimEnd(),
  );
  const failed = outputs.filter((row) => !row.ok).length;
  const head = `${ok ? 'ok  ' : 'FAIL'}  ${fixture} (${kind}, ${backend}): ${outputs.length - failed} of ${outputs.length} within tolerance, ${seconds.toFixed(1)} s`;
  return [head, ...(shown.length ? [`        ${'output'.padEnd(width)}     worst       tol`, ...lines] : [])].join('\n');
}

const command: Command = {
  name: 'parity',
  summary: 'Compares models with the reference numbers of fixture folders; fails above a tolerance, on NaN, on missing or extra tensors.',
  usage: 'FOLDER… [--backend NAME] [--summary] [--json]',
  options: {
    backend: { type: 'string', help: `${backendNames.join(', ')} or auto (the default)` },
    summary: { type: 'boolean', help: 'list only what failed' },
    json: { type: 'boolean', help: 'print one JSON object' },
  },
  async run({ positionals, values }, signal) {
    if (positionals.length === 0) throw new UsageError('parity: expected at least one fixture folder, such as data/fixtures/*.');
    const { name: backend } = await useBackend(values.backend as string | undefined);
    const fixtures = fixtureFolders(positionals, (fixture) => kinds.some((kind) => kind.matches(fixture)));
    if (fixtures.length === 0) throw new UsageError(`parity: none of ${positionals.join(', ')} is a folder.`);
    const results: FixtureResult[] = [];
    for (const fixture of fixtures) {
      signal.throwIfAborted();
      const result = { ...(await runFixture(fixture)), backend };
      results.push(result);
      if (!values.json) console.log(table(result, values.summary === true));
    }
    const ok = results.every((result) => result.ok);
    if (values.json) console.log(JSON.stringify({ ok, fixtures: results }, null, 1));
    else console.log(`\n${results.filter((result) => result.ok).length} of ${results.length} fixtures agree with the reference.`);
    return ok ? 0 : 1;
  },
};

export default command;
