import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { random } from '../core/random.js';
import { effectiveRank, symmetricEigenvalues } from './effective-rank.js';

describe('effective rank', () => {
  test('counts orthogonal rows of equal length, and parallel ones once', () => {
    assert.ok(Math.abs(effectiveRank([[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, -2]]) - 3) < 1e-9);
    assert.ok(Math.abs(effectiveRank([[1, 2, 3], [2, 4, 6], [-1, -2, -3]]) - 1) < 1e-6);
    assert.equal(effectiveRank([[0, 0], [0, 0]]), 0);
  });
  test('is the exponential of the entropy of singular values', () => {
    // Singular values 3 and 1: shares 0.75 and 0.25.
    assert.ok(Math.abs(effectiveRank([[3, 0], [0, 1]]) - Math.exp(-(0.75 * Math.log(0.75) + 0.25 * Math.log(0.25)))) < 1e-9);
  });
});

describe('eigenvalues', () => {
  test('of a symmetric matrix add up to its trace, and their squares to its squares', () => {
    assert.deepEqual(symmetricEigenvalues([[2, 1], [1, 2]]).map((x) => Number(x.toFixed(9))), [3, 1]);
    const stream = random(1, 'matrix');
    const raw = Array.from({ length: 12 }, () => stream.normals(12));
    const a = raw.map((row, i) => [...row].map((x, j) => x + raw[j][i]));
    const values = symmetricEigenvalues(a);
    const sum = (xs: readonly number[]) => xs.reduce((s, x) => s + x, 0);
    assert.ok(Math.abs(sum(values) - sum(a.map((row, i) => row[i]))) < 1e-9);
    assert.ok(Math.abs(sum(values.map((x) => x * x)) - sum(a.flat().map((x) => x * x))) < 1e-6);
    assert.throws(() => symmetricEigenvalues([[1, 2]]), /square matrix/);
  });
});
