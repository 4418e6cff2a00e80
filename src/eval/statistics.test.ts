import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  clusteredStandardError, detectableDifference, effectSize, estimate, holm, mcnemarTest, pairedTest, power, powerSentence, seedsNeeded, signFlipTest, welchTest, wilson,
} from './statistics.js';

const close = (found: number, expected: number, tolerance = 1e-9) =>
  assert.ok(Math.abs(found - expected) <= tolerance, `expected ${expected}, found ${found}`);

describe('statistics', () => {
  test('give the Wilson interval of published examples', () => {
    const { low, high } = wilson(491, 1000);
    close(low, 0.4601090331);
    close(high, 0.5219598485);
    assert.equal(wilson(0, 10).low, 0);
    close(wilson(0, 10).high, 0.2775327999);
    assert.equal(wilson(10, 10).high, 1);
  });

  test('count McNemar exactly', () => {
    close(mcnemarTest(10, 2), 0.03857421875);
    assert.equal(mcnemarTest(0, 0), 1);
    assert.equal(mcnemarTest(3, 3), 1);
    close(mcnemarTest(60, 0) / 2 ** -59, 1, 1e-9);
    assert.ok(mcnemarTest(2000, 1800) > 0.001 && mcnemarTest(2000, 1800) < 0.0013);
  });

  test("adjust by Holm's steps and keep the order", () => {
    holm([0.01, 0.04, 0.03, 0.005]).forEach((p, i) => close(p, [0.03, 0.06, 0.06, 0.02][i], 1e-12));
  });

  test('widen the error of clustered questions', () => {
    const { plain, clustered } = clusteredStandardError([1, 1, 0, 0, 1, 0], [0, 0, 1, 1, 2, 2]);
    close(plain, 0.2236067977);
    close(clustered, 0.2527625148);
  });

  test('estimate a mean with the t quantile', () => {
    // mean 3, std sqrt(2.5), t(0.975, 4) = 2.7764451052
    const { mean, ci } = estimate([1, 2, 3, 4, 5]);
    assert.equal(mean, 3);
    close(ci!.high - 3, 2.7764451052 * Math.sqrt(2.5 / 5), 1e-7);
    assert.equal(estimate([4]).ci, undefined);
  });

  test('agree with textbook t tests', () => {
    // Student's sleep data: t = 4.0621, p = 0.002833, 9 degrees (R, t.test paired); Welch t = 1.8608, df 17.776, p = 0.07939.
    const a = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2];
    const b = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
    const paired = pairedTest(a, b);
    close(paired.t, 4.0621, 5e-5);
    close(paired.p, 0.002833, 5e-7);
    close(paired.ci.low, 0.7001142, 5e-7);
    const welch = welchTest(a, b);
    close(welch.t, 1.8608, 5e-5);
    close(welch.degrees, 17.776, 5e-4);
    close(welch.p, 0.07939, 5e-6);
  });

  test('count sign flips exactly, so five seeds cannot reach 5 %', () => {
    assert.deepEqual(signFlipTest([0, 0, 0, 0, 0], [1, 2, 3, 4, 5]), { p: 2 / 32, n: 5, smallestP: 2 / 32, method: 'exact' });
    // The same count the slow way.
    const differences = [1, 2, 3, -2];
    let hits = 0;
    for (let bits = 0; bits < 16; bits++) if (Math.abs(differences.reduce((total, d, i) => total + ((bits >> i) & 1 ? d : -d), 0)) >= 4) hits++;
    assert.equal(signFlipTest([0, 0, 0, 0], differences).p, hits / 16);
  });

  test('sample sign flips of many pairs near the exact value', () => {
    const b = Array.from({ length: 30 }, (_, i) => (i % 3 === 0 ? -1 : 1));
    const { p, method } = signFlipTest(new Array(30).fill(0), b);
    assert.equal(method, 'sampled');
    // Binomial: P(|20 - 15| or more of 30) = 0.0987.
    close(p, 0.0987, 0.004);
  });

  test('give the power of a t test', () => {
    // R: power.t.test(n = 20, delta = 1, sd = 1) is 0.8689528; power.t.test(power = .90, delta = 1) needs n = 22.02.
    close(power(1, 20, { std: 1, design: 'independent' }), 0.8689528, 1e-6);
    assert.equal(seedsNeeded(1, { std: 1, design: 'independent' }, 0.9), 23);
    const difference = detectableDifference(5, { std: 1, design: 'paired' });
    close(power(difference, 5, { std: 1, design: 'paired' }), 0.8, 1e-6);
    assert.match(powerSentence(5, { std: 1, design: 'paired' }), /^With 5 seeds you can see a difference of 1\.68/);
    assert.equal(detectableDifference(1, { std: 1, design: 'paired' }), Infinity);
  });

  test('measure effect sizes', () => {
    const { d, hedgesG } = effectSize([1, 2, 3, 4, 5], [2, 3, 4, 5, 6]);
    close(d, 1 / Math.sqrt(2.5));
    close(hedgesG, d * (1 - 3 / 31));
  });

  test('refuse what has no answer', () => {
    assert.throws(() => estimate([1, NaN]), /found NaN at index 1/);
    assert.throws(() => pairedTest([1, 2], [1]), /same seeds on both sides/);
    assert.throws(() => wilson(3, 0), /0 of 0|3 of 0/);
  });
});
