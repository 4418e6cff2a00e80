import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { random } from '../core/random.js';
import { bestOfKFeatures, explainDifference, fidWaterfall, sampleOf, waterfallFigure } from './explain.js';
import { features } from './features.js';

const noise = (seed: number, shift = 0) => features(random(seed, 'x').normals(400).map((x) => x + shift), [100, 4], `noise ${seed}`);

describe('explaining a number', () => {
  test('names known effects of the fields that differ, and only those', () => {
    const of = (protocol: object) => ({ metric: 'fid', value: 1, n: 1, protocol: protocol as Record<string, string> });
    const told = explainDifference(of({ selection: 'single', split: 'val' }), of({ selection: 'best-of-8', split: 'val' }));
    assert.match(told, /- selection: Choosing the best of k/);
    assert.doesNotMatch(told, /- split/);
    assert.equal(explainDifference(of({}), of({})), '');
  });

  test('adds up from the first to the last', () => {
    const [real, near, far] = [noise(1), noise(2, 0.2), noise(3, 2)];
    const steps = fidWaterfall([{ label: 'ours', reference: real, generated: far }, { label: 'better', reference: real, generated: near }, { label: 'fewer', reference: real, generated: sampleOf(near, 20) }]);
    assert.ok(steps[1].change < -10 && steps[2].change > 0);
    assert.ok(Math.abs(steps[0].value + steps[1].change + steps[2].change - steps[2].value) < 1e-9);
    const [{ y }] = waterfallFigure(steps).data as [{ y: number[] }];
    assert.equal(y.length, 4);
  });

  test('selects the best of k candidates row by row', () => {
    const [a, b] = [noise(1), noise(2)];
    const scores = [Float64Array.from({ length: 100 }, (_, i) => (i % 2 ? 1 : 0)), new Float64Array(100).fill(0.5)];
    const [one, two] = bestOfKFeatures([a, b], scores);
    assert.deepEqual(one.features.values, a.values);
    assert.deepEqual(two.features.values.subarray(0, 8), Float32Array.of(...b.values.subarray(0, 4), ...a.values.subarray(4, 8)));
    assert.ok(two.score > one.score);
  });
});
