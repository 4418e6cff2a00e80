import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compare, type ComparisonTable } from './comparison.js';
import { bySetting, toArquero, toDanfo } from './frames.js';
import { paperTable, paperTableNames } from './paper.js';
import { toHtml, toLatex, toMarkdown } from './tables.js';
import type { TrialRecord } from './trial.js';

/** Records of a dream-query sweep in which 32 queries lose to 64 on every seed and 128 differ by noise. */
function records(values: Record<number, number[]>, protocol = {}): TrialRecord[] {
  return Object.entries(values).flatMap(([queries, fids]) =>
    fids.map((value, seed) => ({
      sweep: 'dream-queries',
      trial: `${queries}-${seed}`,
      config: { numDreamQueries: Number(queries) },
      seed,
      measurement: 'fid',
      hash: '',
      result: { metric: 'fid', value, n: 500, protocol: { modelScale: 'nano', extractor: 'test', ...protocol } },
      seconds: 1,
      worker: 'w',
      token: 1,
    })),
  );
}

const row = (queries: number, against?: string) => ({
  label: String(queries),
  paper: { benchmark: `MS-COCO, ${queries} dream queries` },
  where: { numDreamQueries: queries },
  metric: 'fid',
  higherIsBetter: false,
  ...(against ? { against } : {}),
});
const table: ComparisonTable = {
  title: 'Number of dream queries',
  paperTable: 'table9a_dream_query_count',
  paperModel: '7B',
  projectModel: 'nano',
  counterparts: [row(64), row(32, '64'), row(128, '64')],
};

describe('a comparison with the paper', () => {
  test('judges each row by its paired difference to the reference', () => {
    const { rows } = compare(table, records({ 64: [10, 11, 12], 32: [13, 14.1, 15], 128: [10.5, 10.4, 12.1] }));
    assert.deepEqual(
      rows.map(({ label, state }) => [label, state]),
      [
        ['64', 'reference row'],
        ['32', 'reproduced trend'],
        ['128', 'within noise'],
      ],
    );
    assert.equal(rows[0].paper?.value, '8.46');
    assert.equal(rows[1].project?.n, 3);
  });

  test('calls a difference against the paper contrary, and a missing run not run', () => {
    const { rows } = compare(table, records({ 64: [10, 11, 12], 32: [7, 8.1, 9] }));
    assert.equal(rows[1].state, 'contrary');
    assert.equal(rows[2].state, 'not run');
    assert.equal(compare(table, records({ 32: [7, 8.1, 9] })).rows[1].state, 'level only, no trend', 'there is nothing to set it against');
    assert.equal(rows[2].project, undefined);
  });

  test('takes a number out of the details of a measurement, and says when it is not there', () => {
    const detailed = records({ 64: [10, 11], 32: [13, 14.1] }).map((record) => ({ ...record, result: { ...(record.result as object), ci: { low: 0, high: 1 }, details: { at: { low: record.seed } } } }));
    const counterparts = table.counterparts.map((each) => ({ ...each, detail: ['at', 'low'] })).slice(0, 2);
    const { rows } = compare({ ...table, counterparts }, detailed);
    assert.deepEqual(rows.map(({ metric, project }) => [metric, project?.mean]), [['fid at low', 0.5], ['fid at low', 0.5]]);
    assert.equal(rows[1].state, 'within noise');
    assert.throws(() => compare({ ...table, counterparts }, records({ 64: [10, 11] })), /no number at details.at.low/);
  });

  test('refuses two protocols in one column', () => {
    const mixed = [...records({ 64: [10] }), ...records({ 64: [0, 11] }, { extractor: 'other' }).slice(1)];
    assert.throws(() => compare(table, mixed), /protocols differ/);
  });

  test('keeps paper and project in columns of their own in every format', () => {
    const made = compare(table, records({ 64: [10, 11, 12] }));
    assert.match(toMarkdown(made), /\| 64 \| fid \| 8\.46 \| 11\.000 \[8\.516, 13\.484\] \| 3 seeds \| a \| reference row \|/);
    assert.match(toLatex(made), /paper \(7B\) & here \(nano\)/);
    assert.match(toHtml(made), /<tr class="not-run">/);
  });
});

describe('the paper as data', () => {
  test('has every table readable, with a value in each row', () => {
    assert.ok(paperTableNames().length >= 14);
    for (const name of paperTableNames()) for (const { value } of paperTable(name).objects() as { value: string }[]) assert.ok(value, name);
  });
  test('refuses an unknown table by name', () => assert.throws(() => paperTable('table99'), /table99.*table3_synergy_ablation/s));
});

describe('records as frames', () => {
  const made = records({ 64: [10, 11, 12], 32: [13, 14, 15] });
  test('are arquero tables and danfojs frames with settings as columns', async () => {
    assert.equal(toArquero(made).numRows(), 6);
    const frame = await toDanfo(made);
    assert.deepEqual(frame.shape, [6, 9]);
    assert.equal(frame.query(frame['numDreamQueries'].eq(64)).column('value').mean(), 11);
  });
  test('are averaged over seeds, and a seed that counts twice is refused', () => {
    const [first] = bySetting(made, ['numDreamQueries']).objects() as { numDreamQueries: number; mean: number; sd: number; seeds: number }[];
    assert.deepEqual({ ...first }, { numDreamQueries: 32, metric: 'fid', mean: 14, sd: 1, seeds: 3 });
    assert.throws(() => bySetting(made, []), /equal seeds must be one trial/);
  });
});
