import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { random } from '../core/random.js';
import { against, atLeast, promptEffect, stated, trend } from './verdicts.js';

const noisy = (level: (i: number) => number) => {
  const stream = random(1, 'trend');
  return Array.from({ length: 120 }, (_, i) => level(i) + 0.1 * stream.uniform());
};

describe('verdicts', () => {
  test('tell a curve that still falls from one that has levelled off or risen', () => {
    assert.match(trend('loss', noisy((i) => 10 - 0.05 * i)), /^loss went from 9\.\d+ to 4\.\d+ .* it still fell/);
    assert.match(trend('loss', noisy((i) => Math.max(0, 50 - i))), /it was level/);
    assert.match(trend('loss', noisy((i) => 0.05 * i)), /it rose/);
    assert.match(trend('loss', Array<number>(60).fill(2)), /it was level/);
    assert.match(trend('loss', [2, 1]), /too few values/);
  });

  test('compare a measurement with a level by its interval', () => {
    const measured = { value: 0.4, n: 100, ci: { low: 0.3, high: 0.5, level: 0.95, method: 'Wilson', source: 'questions' } };
    assert.equal(stated(measured), '0.400 [0.300, 0.500], n = 100');
    assert.match(against('accuracy', measured, { name: 'chance', value: 0.25 }), /is above chance \(0\.250\)/);
    assert.match(against('accuracy', measured, { name: 'chance', value: 0.35 }), /cannot be told from/);
    assert.match(against('accuracy', measured, { name: 'a perfect model', value: 1 }), /is below/);
    assert.match(against('FID', { value: 3, n: 10 }, { name: 'another', value: 4 }), /has no interval/);
  });

  test('know which way a prompt should move a number', () => {
    const effect = (difference: number, p: number, higherIsBetter: boolean) =>
      promptEffect({ metric: 'm', value: 1, n: 9, protocol: {}, details: { prompted: 1, unprompted: 1 - difference, difference, p } }, { higherIsBetter });
    assert.match(effect(0.2, 0.01, true), /the prompt helps/);
    assert.match(effect(0.2, 0.01, false), /the prompt harms/);
    assert.match(effect(-0.2, 0.01, false), /the prompt helps/);
    assert.match(effect(-0.2, 0.2, false), /no difference that can be measured/);
  });

  test('know how likely so many hits are by guessing among different numbers of options', () => {
    // Two coins and a die: none 5/24 · …, at least two of three.
    const close = (found: number, expected: number) => assert.ok(Math.abs(found - expected) < 1e-12, `${found} and ${expected}`);
    close(atLeast(2, [1 / 2, 1 / 2, 1 / 6]), (1 / 4) * (5 / 6) + 2 * (1 / 4) * (1 / 6) + (1 / 4) * (1 / 6));
    close(atLeast(0, [0.3, 0.2]), 1);
    close(atLeast(3, [0.3, 0.2]), 0);
    close(atLeast(10, Array<number>(10).fill(0.5)), 2 ** -10);
  });
});
