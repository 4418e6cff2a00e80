import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { bundleOf } from './display/bundle.js';
import { html, md, svg } from './display/display.js';
import { temporaryFolder, TestKernel, type Seen } from './testing.js';

const png = (bundle: Record<string, unknown> | undefined) => Buffer.from(String(bundle?.['image/png']), 'base64').subarray(1, 4).toString();

describe('a value', () => {
  test('is shown as it says itself, in several media types', async () => {
    const bundle = { 'text/plain': 'three', 'text/html': '<b>3</b>', 'application/json': { three: 3 } };
    assert.deepEqual(await bundleOf({ [Symbol.for('Jupyter.display')]: async () => bundle }), bundle);
    await assert.rejects(bundleOf({ [Symbol.for('Jupyter.display')]: () => 'text' }), /must return an object of media types/);
  });

  test('is shown as text where nothing else fits', async () => {
    assert.deepEqual(await bundleOf({ a: [1, { b: 2 }] }), { 'text/plain': '{ a: [ 1, { b: 2 } ] }' });
    assert.equal(await bundleOf(undefined), undefined);
  });

  test('that is a picture is shown as one', async () => {
    const pixels = { width: 2, height: 1, data: new Uint8Array([255, 0, 0, 0, 255, 0]) };
    const bundle = await bundleOf(pixels);
    assert.equal(png(bundle), 'PNG');
    assert.equal(bundle!['text/plain'], 'Picture, 2 × 1 pixels');
    assert.equal(png(await bundleOf(Buffer.from(String(bundle!['image/png']), 'base64'))), 'PNG');
    assert.deepEqual(Object.keys((await bundleOf(Buffer.from([0xff, 0xd8, 0xff, 0])))!), ['image/jpeg', 'text/plain']);
  });

  test('that is a long table is cut, and says so', async () => {
    const aq = await import('arquero');
    const bundle = await bundleOf(aq.table({ step: Array.from({ length: 100 }, (_, i) => i), name: Array.from({ length: 100 }, () => '<i>') }));
    const markup = String(bundle!['text/html']);
    assert.equal(markup.match(/<tr>/g)!.length, 31);
    assert.match(markup, /&lt;i&gt;/);
    assert.match(markup, /100 rows, 30 shown/);
  });

  test('in a template is escaped, unless it is markup itself', () => {
    assert.equal(html`<p>${'<script>'}${[html`<b>${1}</b>`, ' & ']}</p>`.text, '<p>&lt;script&gt;<b>1</b> &amp; </p>');
    assert.equal(md`# ${'title'}`.text, '# title');
    assert.equal(svg('<svg/>').text, '<svg/>');
  });
});

describe('a notebook', () => {
  let kernel: TestKernel;
  const folder = temporaryFolder();
  before(async () => {
    kernel = await TestKernel.start({ cwd: folder });
  });
  after(() => kernel.close());
  const shown = ({ messages }: Seen, type: string) => messages.filter(({ header }) => header.msg_type === type).map(({ content }) => content as { data: Record<string, unknown>; transient: { display_id: string } });

  test('shows figures as interactive charts, as pictures and as words', async () => {
    const { data } = await kernel.run('({ data: [{ type: "bar", y: new Float32Array([1, 2]) }], layout: { title: { text: "Loss" } } })');
    assert.deepEqual(data!['application/vnd.plotly.v1+json'], { data: [{ type: 'bar', y: [1, 2] }], layout: { title: { text: 'Loss' } } });
    assert.equal(png(data), 'PNG');
    assert.equal(data!['text/plain'], 'Figure "Loss": bar');
    assert.equal('text/html' in data!, false); // classic front ends would prefer it to the picture
  });

  test('shows figures that cannot be drawn here without a picture, and says why', async () => {
    const { data, status } = await kernel.run('({ data: [{ type: "scatter3d", x: [1], y: [1], z: [1] }], layout: {} })');
    assert.equal(status, 'ok');
    assert.equal('image/png' in data!, false);
    assert.match(String(data!['text/plain']), /needs WebGL/);
  });

  test('shows tables of arquero and danfojs', async () => {
    for (const table of ['aq.table({ stage: ["I", "II"], fid: [12.5, 8.46] })', 'new dfd.DataFrame({ stage: ["I", "II"], fid: [12.5, 8.46] })']) {
      const { data } = await kernel.run(table);
      assert.equal(data!['text/plain'], 'stage   fid\nI      12.5\nII     8.46', table);
      assert.match(String(data!['text/html']), /<td>II<\/td><td style="text-align:right">8.46<\/td>/);
    }
  });

  test('shows tensors by shape, type and statistics', async () => {
    const { data } = await kernel.run('tf.tensor2d([[1, 2], [3, NaN]])');
    assert.equal(data!['text/plain'], 'Tensor float32 [2, 2]\nmin 1  max 3  mean 2  std 0.8165  not finite 1\nvalues 1, 2, 3, NaN');
    assert.match(String(data!['text/html']), /<caption>Tensor float32 \[2, 2\]<\/caption>/);
  });

  test('changes what it shows in place', async () => {
    const cell = await kernel.run('const shown = await display(md`# one`); await shown.update(md`# two`)');
    const [first] = shown(cell, 'display_data');
    const [second] = shown(cell, 'update_display_data');
    assert.equal(first.data['text/markdown'], '# one');
    assert.equal(second.data['text/markdown'], '# two');
    assert.equal(first.transient.display_id, second.transient.display_id);
    assert.deepEqual(shown(await kernel.run('clearOutput({ wait: true })'), 'clear_output'), [{ wait: true }]);
  });

  test('shows progress in place, also in a synchronous loop', async () => {
    const cell = await kernel.run('for (const step of progress([1, 2, 3], { label: "steps" })) { const end = Date.now() + 60; while (Date.now() < end); }');
    const texts = [...shown(cell, 'display_data'), ...shown(cell, 'update_display_data')].map(({ data }) => data['text/plain']);
    assert.equal(texts[0], 'steps  0/3');
    assert.equal(texts.at(-1), 'steps  3/3');
    assert.ok(texts.includes('steps  1/3'));
  });

  test('shows charts that grow, and leaves a picture', async () => {
    const cell = await kernel.run('const chart = liveChart({ title: { text: "live" } }); for (let i = 0; i < 3; i++) { chart.add("loss", i, 1 / (i + 1)); await new Promise((done) => setTimeout(done, 300)); } await chart.finish()');
    assert.equal(shown(cell, 'display_data').length, 1);
    const last = shown(cell, 'update_display_data').at(-1)!;
    const { data } = last.data['application/vnd.plotly.v1+json'] as { data: { x: number[] }[] };
    assert.deepEqual(data[0].x, [0, 1, 2]);
    assert.equal(png(last.data), 'PNG');
    assert.ok(shown(cell, 'update_display_data').length >= 3);
  });

  test('attaches to a run, follows it to its end, and shows the same when attached again', async () => {
    const run = join(folder, 'runs/nano');
    mkdirSync(run, { recursive: true });
    writeFileSync(join(run, 'config.json'), '{"stage":"i-gpt"}');
    writeFileSync(join(run, 'events.jsonl'), '{"type":"start"}\n{"type":"step","step":0,"loss":3}\n{"type":"st');
    writeFileSync(join(run, 'lock'), JSON.stringify({ pid: process.pid }));
    const following = kernel.run('const run = attachRun("runs/nano"); await run.show(); [run.state, run.events.length, run.config.stage]');
    setTimeout(() => {
      writeFileSync(join(run, 'events.jsonl'), '{"type":"start"}\n{"type":"step","step":0,"loss":3}\n{"type":"step","step":1,"loss":2}\n');
      writeFileSync(join(run, 'result.json'), '{"loss":2}');
    }, 1500);
    const cell = await following;
    assert.equal(cell.value, "[ 'finished', 3, 'i-gpt' ]");
    const chart = shown(cell, 'update_display_data').at(-1)!.data['application/vnd.plotly.v1+json'] as { data: { name: string; y: number[] }[] };
    assert.deepEqual(chart.data.map(({ name, y }) => [name, y]), [['loss', [3, 2]]]);
    const again = await kernel.run('await attachRun("runs/nano").show()');
    assert.deepEqual(shown(again, 'update_display_data').at(-1)!.data['application/vnd.plotly.v1+json'], chart);
  });
});
