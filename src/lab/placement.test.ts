import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { placeWorkers, roomHere } from './placement.js';

const gib = 2 ** 30;

describe('placement', () => {
  test('takes as many workers as there are cores, trials and memory for, and shares the cores out', () => {
    assert.deepEqual(placeWorkers('auto', 100, {}, { cores: 8, memory: 4 * gib }), { workers: 8, threads: 1 });
    assert.deepEqual(placeWorkers('auto', 3, {}, { cores: 8, memory: 4 * gib }), { workers: 3, threads: 2 });
    const { reason, ...short } = placeWorkers('auto', 100, { memoryPerTrial: 2.5 }, { cores: 8, memory: 6 * gib });
    assert.deepEqual(short, { workers: 2, threads: 4 });
    assert.match(reason!, /6\.0 GiB are free .* 2 of 8 workers are started/);
  });

  test('gives what is asked for unless the memory does not allow it', () => {
    assert.deepEqual(placeWorkers(4, 100, { memoryPerTrial: 1 }, { cores: 2, memory: 6 * gib }), { workers: 4, threads: 1 });
    assert.equal(placeWorkers(4, 100, { memoryPerTrial: 2 }, { cores: 2, memory: 6 * gib }).workers, 3);
    assert.match(placeWorkers(1, 100, { memoryPerTrial: 2 }, { cores: 2, memory: gib }).reason!, /may not fit/);
  });

  test('keeps a sweep alone that measures time', () => {
    assert.deepEqual(placeWorkers('auto', 9, { maxWorkers: 1 }, { cores: 8, memory: gib }), { workers: 1, threads: 8 });
    assert.match(placeWorkers(4, 9, { maxWorkers: 1 }, { cores: 8, memory: gib }).reason!, /1 of 4/);
  });

  test('sees cores and memory of this machine', () => {
    const { cores, memory } = roomHere();
    assert.ok(cores >= 1 && memory > 0);
  });
});
