import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import sharp from 'sharp';
import type { Figure } from '../lab/figures/figure.js';
import plot from './plot.js';

const folder = mkdtempSync(join(tmpdir(), 'dreamllm-plot-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const records = join(folder, 'results.jsonl');
writeFileSync(
  records,
  [0, 1].flatMap((seed) => [1, 2, 4].map((scale) => `${JSON.stringify({
    sweep: 's', trial: 't', config: { scale }, seed, measurement: 'm', hash: 'h', seconds: 1, worker: 'w', token: 1,
    result: { metric: 'fid', value: 10 + scale + seed, n: 5, protocol: { modelScale: 'nano' } },
  })}\n`)).join(''),
);

const draw = async (file: string, ...more: string[]): Promise<string> => {
  const out = join(folder, file);
  await plot.run({ positionals: ['curve'], values: { out, records: [records], metric: ['fid'], x: 'scale', ...Object.fromEntries(more.map((each) => each.split('='))) } }, new AbortController().signal);
  return out;
};

describe('plot', () => {
  test('writes one figure as data, as interactive page and as pictures', { timeout: 120_000 }, async () => {
    const figure = JSON.parse(readFileSync(await draw('figure.json'), 'utf8')) as Figure;
    const line = figure.data.at(-1) as { x: number[]; y: number[] };
    assert.deepEqual([line.x, line.y], [[1, 2, 4], [11.5, 12.5, 14.5]]);

    const page = readFileSync(await draw('figure.html'), 'utf8');
    assert.ok(page.includes(JSON.stringify(figure).replaceAll('</', '<\\/')), 'the page draws just this figure');

    const svg = readFileSync(await draw('figure.svg'), 'utf8');
    const points = svg.match(/<path class="point"/g) ?? [];
    assert.equal(points.length, line.x.length, 'a mark a point');
    assert.match(svg, /fid against scale/);
    const [, width, height] = /^<svg[^>]*?width="(\d+)"[^>]*?height="(\d+)"/.exec(svg) ?? [];
    const picture = await sharp(await draw('figure.png')).metadata();
    assert.deepEqual([picture.width, picture.height], [2 * Number(width), 2 * Number(height)], 'the PNG is the SVG at twice its size');
  });

  test('refuses kinds and metrics that are not there', async () => {
    const run = (positionals: string[], values: Record<string, unknown>) => plot.run({ positionals, values } as never, new AbortController().signal);
    await assert.rejects(async () => run(['pie'], {}), /one kind of curve/);
    await assert.rejects(async () => run(['curve'], { out: join(folder, 'x.svg'), records: [records], metric: ['kid'], x: 'scale' }), /There are fid/);
    await assert.rejects(async () => run(['samples'], { out: join(folder, 'x.svg'), records: [records], by: 'scale' }), /lacks details.samples/);
  });
});
