import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { temporaryFolder } from '../testing.js';
import { type Message } from '../wire/message.js';
import { inputHashes, markStale, staleCells } from './freshness.js';
import { emptyNotebook, isCode, readNotebook, strip, writeNotebook, type CodeCell } from './notebook.js';
import { asSeen, OutputCollector } from './outputs.js';
import { toHtml } from './page.js';
import { injectParameters, parseParameter } from './parameters.js';
import { faultsOf } from './schema.js';

const code = (id: string, source: string, more: Partial<CodeCell> = {}): CodeCell => ({ cell_type: 'code', id, metadata: {}, source, outputs: [], execution_count: null, ...more });
const folder = temporaryFolder();

describe('a notebook file', () => {
  const read = (text: string) => {
    const file = join(folder, 'bad.ipynb');
    writeFileSync(file, text);
    return () => readNotebook(file);
  };

  test('that is none is refused with the reason', () => {
    assert.throws(() => readNotebook(join(folder, 'absent.ipynb')), /Cannot read .*absent\.ipynb/);
    assert.throws(read('# %%\nx'), /is not JSON, so not a notebook/);
    assert.throws(read('[]'), /"nbformat" is missing/);
    assert.throws(read('{"nbformat":3,"worksheets":[]}'), /format 3; expected 4/);
    assert.throws(read('{"nbformat":4,"nbformat_minor":5,"metadata":{}}'), /must have required property 'cells'/);
    const cell = { cell_type: 'code', id: 'a', metadata: {}, source: 'x', execution_count: null };
    assert.throws(read(JSON.stringify({ ...emptyNotebook(), cells: [cell] })), /\/cells\/0 must have required property 'outputs'/);
    assert.throws(read(JSON.stringify({ ...emptyNotebook(), cells: [code('a', 'x'), code('a', 'y')] })), /"a" is used twice/);
  });

  test('of an older minor version gets ids', () => {
    const { id: _id, ...withoutId } = code('a', 'x');
    const notebook = read(JSON.stringify({ ...emptyNotebook(), nbformat_minor: 2, cells: [withoutId, withoutId] }))();
    assert.deepEqual(faultsOf(notebook), []);
  });

  test('is written whole', () => {
    const file = join(folder, 'new.ipynb');
    writeNotebook(file, emptyNotebook([code('a', 'x')]));
    assert.deepEqual(readNotebook(file), JSON.parse(readFileSync(file, 'utf8')));
  });

  test('loses by stripping what running added, and nothing else', () => {
    const ran = emptyNotebook([code('a', 'x', { outputs: [{ output_type: 'stream', name: 'stdout', text: 'x' }], execution_count: 3, metadata: { tags: ['t'], dreamllm: { inputs: 'h' } } }), code('p', 'const a = 1', { metadata: { tags: ['injected-parameters'] } })]);
    ran.metadata.dreamllm = { seed: 1 };
    assert.deepEqual(strip(ran), emptyNotebook([code('a', 'x', { metadata: { tags: ['t'] } })]));
  });
});

describe('parameters', () => {
  test('are read as JSON, else as text', () => {
    assert.deepEqual(['steps=10', 'scales=[1,7.5]', 'name=nano', 'empty=', 'a=b=c'].map(parseParameter), [['steps', 10], ['scales', [1, 7.5]], ['name', 'nano'], ['empty', ''], ['a', 'b=c']]);
    assert.throws(() => parseParameter('no value'), /expected key=value/);
  });

  test('follow the cell with their defaults, once', () => {
    const notebook = emptyNotebook([code('a', 'const steps = 1; let seed = 0', { metadata: { tags: ['parameters'] } }), code('b', 'steps')]);
    injectParameters(notebook, { steps: 5 }, 'n');
    injectParameters(notebook, { steps: 7, seed: 2 }, 'n');
    assert.deepEqual(notebook.cells.map(({ source }) => [source].flat().join('')), ['const steps = 1; let seed = 0', '// Parameters of this run\nconst steps = 7;\nlet seed = 2;', 'steps']);
    assert.deepEqual(faultsOf(notebook), []);
  });

  test('must be declared, in a cell tagged for them', () => {
    assert.throws(() => injectParameters(emptyNotebook([code('a', 'const steps = 1')]), { steps: 5 }, 'n.ipynb'), /n\.ipynb takes no parameters: it has no code cell with the tag "parameters"/);
    const notebook = emptyNotebook([code('a', 'const steps = 1', { metadata: { tags: ['parameters'] } })]);
    assert.throws(() => injectParameters(notebook, { stepz: 5 }, 'n.ipynb'), /no parameter stepz\. Its parameters are: steps/);
  });
});

describe('outputs', () => {
  const message = (msg_type: string, content: object) => ({ header: { msg_type }, content }) as unknown as Message;

  test('join prints, follow updates and clear', () => {
    const cell = code('a', '');
    const displays = new Map();
    const collector = new OutputCollector(cell, displays);
    for (const [type, content] of [
      ['stream', { name: 'stdout', text: 'gone' }],
      ['clear_output', { wait: true }],
      ['stream', { name: 'stdout', text: 'a' }],
      ['stream', { name: 'stdout', text: 'b\n' }],
      ['display_data', { data: { 'text/plain': 'one' }, metadata: {}, transient: { display_id: 'd' } }],
      ['stream', { name: 'stdout', text: 'c' }],
      ['update_display_data', { data: { 'text/plain': 'two' }, metadata: {}, transient: { display_id: 'd' } }],
    ] as const) collector.receive(message(type, content));
    collector.finish();
    assert.deepEqual(cell.outputs, [
      { output_type: 'stream', name: 'stdout', text: ['ab\n'] },
      { output_type: 'display_data', data: { 'text/plain': 'two' }, metadata: {} },
      { output_type: 'stream', name: 'stdout', text: ['c'] },
    ]);
  });

  test('keep of a line what was written over it last', () => {
    assert.equal(asSeen('1 %\r50 %\r100 %\nnext\r\nlast\r'), '100 %\nnext\nlast');
  });
});

describe('a cell is stale', () => {
  const ran = () => {
    const notebook = emptyNotebook([code('a', 'let x = 1', { execution_count: 1 }), code('b', 'x', { execution_count: 2 })]);
    const hashes = inputHashes(notebook);
    for (const cell of notebook.cells.filter(isCode)) cell.metadata.dreamllm = { inputs: hashes.get(cell) };
    return notebook;
  };
  const reasons = (notebook: ReturnType<typeof ran>) => [...staleCells(notebook)].map(([{ id }, reason]) => `${id}: ${reason}`);

  test('when it or one above it was edited since it ran', () => {
    const notebook = ran();
    assert.deepEqual(reasons(notebook), []);
    notebook.cells[0].source = 'let x = 2';
    assert.deepEqual(reasons(notebook), ['a: this cell or one above it was edited after it ran', 'b: this cell or one above it was edited after it ran']);
  });

  test('when it ran before one above it', () => {
    const notebook = emptyNotebook([code('a', '1', { execution_count: 5 }), code('b', '2', { execution_count: 4 })]);
    assert.deepEqual(reasons(notebook as ReturnType<typeof ran>), ['b: it ran before a cell above it']);
    markStale(notebook);
    assert.deepEqual(notebook.cells.map(({ metadata }) => metadata.dreamllm), [undefined, { stale: 'it ran before a cell above it' }]);
    (notebook.cells[1] as CodeCell).execution_count = 6;
    markStale(notebook);
    assert.deepEqual(notebook.cells[1].metadata, {});
  });
});

describe('the HTML page', () => {
  const figure = { data: [{ type: 'bar', y: [1], text: '</script><b>' }], layout: {} };
  const notebook = emptyNotebook([
    { cell_type: 'markdown', id: 'm', metadata: {}, source: '# Title\n\n`<code>`' },
    code('a', 'const text = `a ${1 + 1} <b>`; // note', { execution_count: 1, outputs: [{ output_type: 'stream', name: 'stdout', text: ['<plain>\n'] }, { output_type: 'display_data', data: { 'application/vnd.plotly.v1+json': figure, 'image/png': 'QUJD', 'text/plain': 'Figure' }, metadata: {} }] }),
    code('e', 'fail()', { execution_count: 2, outputs: [{ output_type: 'error', ename: 'E', evalue: 'v', traceback: ['\u001b[31mE: v\u001b[39m'] }] }),
  ]);
  const page = toHtml(notebook, 'demo <1>');

  test('holds text, code, outputs and errors, escaped', () => {
    assert.match(page, /<title>demo &lt;1&gt;<\/title>/);
    assert.match(page, /<h1>Title<\/h1>/);
    assert.match(page, /<span class="k">const<\/span> text = <span class="s">`a \$\{<\/span><span class="n">1<\/span> \+ <span class="n">1<\/span><span class="s">\} &lt;b&gt;`<\/span>; <span class="c">\/\/ note<\/span>/);
    assert.match(page, /&lt;plain&gt;/);
    assert.match(page, /<span class="red">E: v<\/span>/);
  });

  test('holds plotly.js once, figures as data, and pictures for readers without scripts', () => {
    assert.equal(page.match(/plotly\.js \(cartesian/g)?.length, 1);
    assert.match(page, /<script type="application\/json">\{"data":\[\{"type":"bar","y":\[1\],"text":"\\u003c\/script>\\u003cb>"/);
    assert.match(page, /<noscript><img alt="Figure" src="data:image\/png;base64,QUJD"><\/noscript>/);
    const own = page.replace(/<script>\/\*\*[^]*?<\/script>/, '');
    assert.ok(own.length < 10_000);
    assert.doesNotMatch(own, /(src|href)="https?:/);
  });

  test('without figures is small, and names stale cells', () => {
    const small = toHtml(emptyNotebook([code('a', '1', { execution_count: 2 }), code('b', '2', { execution_count: 1 })]), 'small');
    assert.ok(small.length < 10_000);
    assert.match(small, /Stale: it ran before a cell above it/);
  });
});
