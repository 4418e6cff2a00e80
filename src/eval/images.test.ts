import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { asFloat32, readSafetensors } from '../core/safetensors.js';
import { random } from '../core/random.js';
import { bestOfKCurve, clipScores } from './clip-score.js';
import { features, selectRows } from './features.js';
import { factored, factoredMomentsOf, frechetDistance, frechetLimit, moments } from './frechet.js';
import { cmmd, kid, kidOfSubsets, unbiasedKid } from './kernel-distance.js';
import { precisionRecall } from './precision-recall.js';

const close = (found: number, expected: number, tolerance: number, what = '') =>
  assert.ok(Math.abs(found - expected) <= tolerance, `${what} expected ${expected}, found ${found}`);
const matrix = (rows: number[][], name = 'rows') => features(Float64Array.from(rows.flat()), [rows.length, rows[0].length], name);
const gaussian = (mean: number[], covariance: number[][]) => ({ name: 'gaussian', dim: mean.length, mean: Float64Array.from(mean), covariance: Float64Array.from(covariance.flat()) });
const noise = (n: number, dim: number, seed: number, shift = 0) => features(random(seed, 'noise').normals(n * dim).map((x) => x + shift), [n, dim], `noise ${seed}`);

const folder = 'data/fixtures/metrics';
interface FidCase { eigenvalues: number; tol: number; mean_term: number; trace_x: number; trace_y: number; trace_sqrt: number }
interface KidCase { first_m_of_both: number; unbiased: number; subsets: [number[], number[]][]; subset_values: number[] }
const cases = JSON.parse(readFileSync(`${folder}/fid_kid.json`, 'utf8')) as { fid: Record<string, FidCase>; kid: Record<string, KidCase> };
const { tensors } = readSafetensors(`${folder}/features.safetensors`);
const stored = (key: string) => features(asFloat32(tensors.get(key)!.values), tensors.get(key)!.shape, key);

describe('the Fréchet distance', () => {
  test('is the dimension for unit Gaussians one step apart', () => {
    const dim = 512;
    const covariance = new Float64Array(dim * dim);
    for (let i = 0; i < dim; i++) covariance[i * dim + i] = 1;
    const at = (value: number) => ({ name: 'unit', dim, mean: new Float64Array(dim).fill(value), covariance });
    close(frechetDistance(at(0), at(1)).distance, dim, 1e-8);
  });

  test('has the closed forms of two dimensions and of diagonal covariances', () => {
    close(frechetDistance(gaussian([1, 2], [[4, 1], [1, 3]]), gaussian([0, -1], [[2, -0.5], [-0.5, 1]])).distance, 11.333982601588634, 1e-9);
    const diagonal = (values: number[]) => values.map((value, i) => values.map((_, j) => (i === j ? value : 0)));
    close(frechetDistance(gaussian([0, 0, 0], diagonal([1, 4, 9])), gaussian([1, 1, 1], diagonal([4, 4, 1]))).distance, 8, 1e-12);
  });

  for (const [name, expected] of Object.entries(cases.fid)) {
    test(`agrees with the eigenvalue form on ${name}`, () => {
      const found = frechetDistance(moments(stored(`${name}.x`)), moments(stored(`${name}.y`)));
      close(found.distance, expected.eigenvalues, expected.tol, 'distance');
      close(found.meanTerm, expected.mean_term, 1e-9 * Math.max(1, expected.mean_term), 'mean term');
      close(found.traceA, expected.trace_x, 1e-9 * expected.trace_x, 'trace x');
      close(found.traceRoot, expected.trace_sqrt, expected.tol, 'trace of the root');
    });
  }

  test('is symmetric and zero only for equal moments', () => {
    const [a, b] = [moments(noise(80, 20, 1)), moments(noise(60, 20, 2, 0.3))];
    close(frechetDistance(a, b).distance, frechetDistance(b, a).distance, 1e-9);
    close(frechetDistance(a, a).distance, 0, 1e-9);
    assert.ok(frechetDistance(a, b).distance > 1);
  });

  test('sees through singular covariances: fewer rows than dimensions', () => {
    // 5 rows in 30 dimensions span 4: the distance must not change when zero columns are added.
    const [a, b] = [noise(5, 30, 3), noise(7, 30, 4)];
    const widen = (side: typeof a) => features(Float64Array.from({ length: side.n * 40 }, (_, i) => (i % 40 < 30 ? side.values[Math.floor(i / 40) * 30 + (i % 40)] : 0)), [side.n, 40], 'wide');
    const plain = frechetDistance(moments(a), moments(b));
    assert.deepEqual([plain.rankA, plain.rankB], [4, 6]);
    close(frechetDistance(moments(widen(a)), moments(widen(b))).distance, plain.distance, 1e-9);
  });

  test('gives the same in a worker as in place', async () => {
    // 2.1e9 products: just above the size from which a worker is used.
    const [a, b] = [noise(2100, 1000, 5).values, noise(40, 1000, 6).values];
    const [x, y] = [features(a, [2100, 1000], 'a'), features(b, [40, 1000], 'b')];
    const [worked] = await factoredMomentsOf(x, y);
    const here = factored(moments(x));
    assert.deepEqual(worked.mean, here.mean);
    assert.deepEqual(worked.factor.rank, here.factor.rank);
    assert.deepEqual(worked.covariance.subarray(0, 5000), here.covariance.subarray(0, 5000));
  });

  test('extrapolates away the bias of a small sample', () => {
    const reference = factored(moments(noise(4000, 16, 7)));
    const generated = noise(400, 16, 8);
    const plain = frechetDistance(reference, moments(generated)).distance;
    const { limit, slope, points } = frechetLimit(reference, generated);
    close(points.at(-1)!.distance, plain, 1e-9);
    assert.ok(slope > 0, 'smaller samples lie farther away');
    assert.ok(Math.abs(limit) < plain / 2, `the limit ${limit} is nearer to the truth 0 than ${plain}`);
  });
});

describe('kernel distances', () => {
  const x = matrix([[1, 0], [0, 1], [1, 1]]);
  const y = matrix([[2, 0], [0, 0], [1, -1]]);

  test('have the values of a hand computation', () => {
    close(unbiasedKid(x, y), 0.4722222222, 1e-10);
    close(cmmd(x, y), 10.978900290475, 1e-11);
    close(cmmd(matrix([[1, 0]]), matrix([[0, 1]])), 19.900332501664, 1e-11);
  });

  for (const [name, expected] of Object.entries(cases.kid)) {
    test(`agree with torch-fidelity's KID on ${name}`, () => {
      const first = (side: string) => selectRows(stored(`${name}.${side}`), Array.from({ length: expected.first_m_of_both }, (_, i) => i));
      close(unbiasedKid(first('x'), first('y')), expected.unbiased, 1e-6 * Math.abs(expected.unbiased) + 1e-12);
      kidOfSubsets(stored(`${name}.x`), stored(`${name}.y`), expected.subsets).forEach((value, i) =>
        close(value, expected.subset_values[i], 1e-6 * Math.abs(expected.subset_values[i]) + 1e-12));
    });
  }

  test('are near zero for one distribution whatever the sample, and repeat with their seed', () => {
    const [a, b] = [noise(300, 8, 1), noise(300, 8, 2)];
    const small = kid(a, b, { subsets: 20, subsetSize: 50, seed: 3 });
    assert.ok(Math.abs(small.mean) < 3 * small.std / Math.sqrt(20) + 0.02);
    assert.deepEqual(small, kid(a, b, { subsets: 20, subsetSize: 50, seed: 3 }));
    assert.throws(() => kid(a, b, { subsetSize: 301 }), /need as many rows a side, found 300/);
  });
});

describe('precision and recall', () => {
  test('are 1 for the same pictures and 0 for distant ones', () => {
    const real = noise(50, 4, 1);
    assert.deepEqual(precisionRecall(real, real), { precision: 1, recall: 1 });
    assert.deepEqual(precisionRecall(real, noise(50, 4, 2, 100)), { precision: 0, recall: 0 });
  });

  test('tell a lost mode from an invented one', () => {
    const mode = (seed: number, shift: number) => noise(40, 3, seed, shift).values;
    const both = features(Float32Array.from([...mode(1, 0), ...mode(2, 50)]), [80, 3], 'two modes');
    const one = features(Float32Array.from(mode(3, 0)), [40, 3], 'one mode');
    const lost = precisionRecall(both, one);
    assert.ok(lost.precision > 0.8 && lost.recall < 0.55, JSON.stringify(lost));
    const invented = precisionRecall(one, both);
    assert.ok(invented.precision < 0.55 && invented.recall > 0.8, JSON.stringify(invented));
  });
});

describe('CLIP scores', () => {
  test('are 2.5 times the cosine and never negative', () => {
    assert.deepEqual([...clipScores(matrix([[3, 0], [0, 2], [1, 0]]), matrix([[1, 0], [1, 0], [-1, 0]]))], [2.5, 0, 0]);
    assert.throws(() => clipScores(matrix([[0, 0]]), matrix([[1, 0]])), /row 0 is all zero/);
  });

  test('grow with the number of candidates as counting says', () => {
    // Three candidates 1, 2, 3 for one prompt: the best of two is 2, 3 or 3.
    const curve = bestOfKCurve([[1], [3], [2]]);
    curve.forEach(({ score }, i) => close(score, [2, 8 / 3, 3][i], 1e-12));
    assert.deepEqual(curve.map(({ chosen }) => chosen[0]), [0, 1, 1]);
    assert.throws(() => bestOfKCurve([[1, 2], [1]]), /candidate 1 has 1 scores/);
  });
});

test('features that are empty, cut short or not finite are refused with the row', () => {
  assert.throws(() => matrix([[1, 2], [3, NaN]], 'a.npy'), /a\.npy: row 1, column 1 is NaN/);
  assert.throws(() => features(new Float32Array(0), [0, 4], 'b.npy'), /b\.npy: expected features \[n, dim\], found \[0, 4\]/);
  assert.throws(() => unbiasedKid(matrix([[1, 2], [1, 2]], 'a'), matrix([[1, 2, 3], [1, 2, 3]], 'b')), /a has 2 columns and b has 3/);
});
