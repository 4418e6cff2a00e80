import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { mixture, type Source } from './batches.js';

const endless = (name: string, weight: number): Source<string> => ({ name, weight, at: (index) => `${name}${index}` });

describe('mixture', () => {
  test('draws sources in proportion to their weights, to within one sample in each block of 256', () => {
    const { locate } = mixture([endless('a', 7), endless('b', 2), endless('c', 1)], 0);
    const counts = [0, 0, 0];
    for (let i = 0; i < 25_600; i++) counts[locate(i).source]++;
    assert.ok(Math.abs(counts[0] - 17_920) <= 2, `${counts}`);
    assert.ok(Math.abs(counts[1] - 5120) <= 2, `${counts}`);
    assert.ok(Math.abs(counts[2] - 2560) <= 2, `${counts}`);
  });

  test('takes the samples of a source one after the other, none twice', () => {
    const { locate } = mixture([endless('a', 1), endless('b', 0.003)], 5);
    const next = [0, 0];
    for (let i = 0; i < 3000; i++) {
      const { source, index } = locate(i);
      assert.equal(index, next[source]++);
    }
    assert.ok(next[1] >= 7 && next[1] <= 11, `b was drawn ${next[1]} times`);
  });

  test('gives the same sample for an index in whatever order it is asked', () => {
    const make = () => mixture([endless('a', 3), endless('b', 1)], 1);
    const forward = Array.from({ length: 600 }, (_, i) => make().at(i));
    const { at } = make();
    for (const i of [599, 0, 256, 255, 300]) assert.equal(at(i), forward[i]);
  });

  test('gives another order for another seed', () => {
    const first = (seed: number) => mixture([endless('a', 1), endless('b', 1)], seed).batch(0, 32).join();
    assert.notEqual(first(0), first(1));
  });

  test('refuses a mixture of nothing and a negative weight', () => {
    assert.throws(() => mixture([endless('a', 0)], 0), /positive weight/);
    assert.throws(() => mixture([endless('a', -1)], 0), /"a": expected a weight of 0 or more, found -1/);
  });
});
