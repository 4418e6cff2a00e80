import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import sharp from 'sharp';
import { renderFigure, stopDrawing } from './static-figure.js';

describe('renderFigure', () => {
  after(stopDrawing);

  /** The colour of the pixel at a fraction of the picture's width and height. */
  const pixelsOf = async (png: Buffer) => {
    const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    return { ...info, at: (x: number, y: number) => [...data.subarray(3 * (y * info.width + x), 3 * (y * info.width + x) + 3)] };
  };

  test('writes the words of a figure as SVG text', async () => {
    const svg = await renderFigure({ data: [{ x: [1, 2], y: [3, 4], name: 'loss' }, { x: [1, 2], y: [4, 3], name: 'lr' }], layout: { title: { text: 'Synergy' }, xaxis: { title: { text: 'step' } } } }, { format: 'svg' });
    for (const word of ['Synergy', 'step', 'loss']) assert.match(svg, new RegExp(`>${word}<`));
  });

  test('takes the size from the layout and the scale from the caller', async () => {
    const { width, height } = await pixelsOf(await renderFigure({ data: [{ y: [1, 2] }], layout: { width: 300, height: 200 } }, { format: 'png', scale: 1 }));
    assert.deepEqual([width, height], [300, 200]);
  });

  test('keeps the cells of a heat map apart and colours its bar', async () => {
    const layout = { width: 400, height: 300, margin: { l: 0, r: 100, t: 0, b: 0 }, xaxis: { visible: false }, yaxis: { visible: false } };
    const trace = { type: 'heatmap', z: [[0, 1]], colorscale: [[0, '#ff0000'], [1, '#0000ff']] };
    const { at } = await pixelsOf(await renderFigure({ data: [trace], layout }, { format: 'png', scale: 1 }));
    assert.deepEqual(at(10, 150), [255, 0, 0]);
    assert.deepEqual(at(140, 150), [255, 0, 0]); // near the edge between the cells
    assert.deepEqual(at(160, 150), [0, 0, 255]);
    const bar = Array.from({ length: 90 }, (_, i) => at(305 + i, 290 - 150));
    assert.ok(bar.some(([red, green, blue]) => red! > 80 && blue! > 80 && green! < 40), 'the middle of the colour bar is between red and blue');
  });

  test('draws radar, box, violin, contour and table traces', async () => {
    const polar = { type: 'scatterpolar', r: [1, 3, 2], theta: ['VQA', 'FID', 'OCR'], fill: 'toself' };
    for (const trace of [polar, { type: 'box', y: [1, 2, 9] }, { type: 'violin', y: [1, 2, 9] }, { type: 'contour', z: [[1, 2], [2, 5]] }, { type: 'table', header: { values: ['a'] }, cells: { values: [[1]] } }]) {
      assert.match(await renderFigure({ data: [trace] }, { format: 'svg' }), /^<svg/, String(trace.type));
    }
  });

  test('accepts typed arrays and bars with error bars', async () => {
    const svg = await renderFigure({ data: [{ type: 'bar', y: new Float32Array([1, 2]), error_y: { type: 'data', array: [0.1, 0.2] } }] }, { format: 'svg' });
    assert.match(svg, /class="xerror|class="yerror/);
  });

  test('says that three-dimensional traces need a browser', async () => {
    await assert.rejects(renderFigure({ data: [{ type: 'scatter3d', x: [1], y: [1], z: [1] }] }, { format: 'png' }), /"scatter3d" needs WebGL/);
  });

  test('gives up when the time is over and works again afterwards', async () => {
    await assert.rejects(renderFigure({ data: [{ y: Array.from({ length: 200_000 }, (_, i) => Math.sin(i)), mode: 'markers' }] }, { format: 'svg', timeout: 50 }), /more than 50 ms/);
    assert.match(await renderFigure({ data: [{ y: [1, 2] }] }, { format: 'svg' }), /^<svg/);
  });
});
