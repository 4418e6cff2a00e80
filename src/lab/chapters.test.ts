import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { blankImage } from '../core/images.js';
import { fromPercent } from '../kernel/document/percent.js';
import { isCode, sourceOf } from '../kernel/document/notebook.js';
import { chapterNames, chapterSource, comparisonOf, greyMaps, pictureDistance, sweepFigure, trainedParts } from './chapters.js';

describe('chapters', () => {
  for (const name of chapterNames) {
    test(`${name} has fewer than 30 cells, none over ten lines, and text before its first figure`, () => {
      const { cells } = fromPercent(chapterSource(name));
      assert.ok(cells.length < 30, `${cells.length} cells`);
      for (const cell of cells.filter(isCode)) assert.ok(sourceOf(cell).split('\n').length <= 10, `${sourceOf(cell).split('\n').length} lines: ${sourceOf(cell).slice(0, 60)}`);
      assert.match(sourceOf(cells[0]), /^# /, 'a title and a question come first');
      assert.ok(cells.filter((cell) => !isCode(cell)).length * 4 >= cells.length, 'prose is at least a quarter of the cells');
    });
  }

  test('say what to run where a sweep has no records, and refuse a figure that does not exist', () => {
    assert.throws(() => sweepFigure('synergy', 'nothing'), /has no figure "nothing".*fid-difference/s);
    const shown = sweepFigure('latency', 'seconds');
    assert.ok(typeof shown !== 'string' || /npx dreamllm sweep experiments\/latency\/sweep.ts/.test(shown), String(shown));
  });

  test('count what trains: stage I a small share, stage II nearly all of the language model', () => {
    const share = (name: Parameters<typeof trainedParts>[0]) => trainedParts(name).reduce((sum, { share: text }) => sum + parseFloat(text), 0);
    assert.ok(share('alignment-comprehension') > 0 && share('alignment-comprehension') < 2);
    assert.ok(share('i-gpt') > 20 && share('i-gpt') < 50, 'CLIP, autoencoder and U-Net stay frozen');
  });

  test('have a row of every printed value beside the paper', () => {
    const { rows, states } = comparisonOf('table9a_dream_query_count');
    assert.equal(rows.numRows() >= 3, true);
    assert.equal(Object.values(states).reduce((a, b) => a + b, 0), rows.numRows());
  });
});

describe('pictures', () => {
  test('differ by a root mean square on bytes', () => {
    const [black, white] = [blankImage(2, 2, [0, 0, 0]), blankImage(2, 2, [255, 255, 255])];
    assert.equal(pictureDistance(black, white), 255);
    assert.equal(pictureDistance(black, black), 0);
    assert.throws(() => pictureDistance(black, blankImage(3, 3)), /one size/);
  });

  test('of maps are grey, with white for the largest value of all', () => {
    const [a, b] = greyMaps([[[0, 1]], [[2, 4]]]);
    assert.deepEqual([...a.data], [0, 0, 0, 64, 64, 64]);
    assert.deepEqual([...b.data], [128, 128, 128, 255, 255, 255]);
  });
});
