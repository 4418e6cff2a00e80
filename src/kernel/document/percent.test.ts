import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isCode, sourceOf, type Cell, type CodeCell } from './notebook.js';
import { fromPercent, toPercent } from './percent.js';
import { faultsOf } from './schema.js';

const script = `// ---
// jupyter:
//   kernelspec:
//     name: dreamllm
// ---

// %% [markdown]
// # Title
//
// - \`code\`

// %% tags=["parameters"]
const steps = 20;

// %% name="train" tags=["slow","raises-exception"]
for (let i = 0; i < steps; i++) {

  console.log(i);
}
`;

describe('the percent format', () => {
  test('becomes a valid notebook', () => {
    const notebook = fromPercent(script);
    assert.deepEqual(faultsOf(notebook), []);
    assert.deepEqual(notebook.cells.map(({ cell_type, metadata }) => [cell_type, metadata]), [
      ['markdown', {}],
      ['code', { tags: ['parameters'] }],
      ['code', { name: 'train', tags: ['slow', 'raises-exception'] }],
    ]);
    assert.deepEqual(notebook.cells.map(sourceOf), ['# Title\n\n- `code`', 'const steps = 20;', 'for (let i = 0; i < steps; i++) {\n\n  console.log(i);\n}']);
  });

  test('comes back from the notebook as it was', () => {
    const notebook = fromPercent(script);
    const written = toPercent(notebook);
    assert.deepEqual(fromPercent(written), notebook);
    assert.equal(written.slice(written.indexOf('// %%')), script.slice(script.indexOf('// %%')).replace('name="train" tags=["slow","raises-exception"]', 'name="train" tags=["slow","raises-exception"]'));
  });

  test('gives the same ids each time, and different ids to equal cells', () => {
    const twice = '// %%\na\n\n// %%\na\n';
    const ids = (text: string) => fromPercent(text).cells.map(({ id }) => id);
    assert.deepEqual(ids(twice), ids(twice));
    assert.equal(new Set(ids(twice)).size, 2);
  });

  test('keeps ids, and outputs of cells that did not change', () => {
    const before = fromPercent('// %%\na\n\n// %%\nb\n\n// %%\nc\n');
    for (const cell of before.cells.filter(isCode)) Object.assign(cell, { outputs: [{ output_type: 'stream', name: 'stdout', text: [sourceOf(cell)] }], execution_count: 1 });
    const [a, b, c] = before.cells;
    const now = fromPercent('// %%\nnew first\n\n// %%\na\n\n// %%\nb edited\n\n// %%\nc\n', before);
    assert.deepEqual(now.cells.slice(1).map(({ id }) => id), [a.id, b.id, c.id]);
    const outputs = (cell: Cell) => (cell as CodeCell).outputs.length;
    assert.deepEqual(now.cells.map(outputs), [0, 1, 0, 1]);
  });

  test('accepts scripts without marker or header, and other line ends', () => {
    const { cells } = fromPercent('import fs from "node:fs";\r\n\r\n// %% [md]\r\n// text\r\n');
    assert.deepEqual(cells.map((cell) => [cell.cell_type, sourceOf(cell)]), [['code', 'import fs from "node:fs";'], ['markdown', 'text']]);
  });
});
