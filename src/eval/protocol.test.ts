import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { column, columnKey, describeDifference, measurement, parseMeasurement, ProtocolMismatch } from './protocol.js';

const fid = (protocol: object, value = 8.46) => measurement({ metric: 'fid', value, n: 30_000, protocol: { split: 'val2014', selection: 'best-of-8', ...protocol } });

describe('a protocol', () => {
  test('lets equal protocols share a column, in any order of fields', () => {
    const a = fid({ resolution: 256 });
    const b = measurement({ metric: 'fid', value: 9, n: 30_000, protocol: { resolution: 256, selection: 'best-of-8', split: 'val2014' } });
    assert.equal(column([a, b]).length, 2);
    assert.equal(columnKey(a), columnKey(b));
  });

  test('refuses a column of two protocols and prints the difference', () => {
    assert.throws(() => column([fid({}), fid({ selection: 'single', steps: 50 })]), (error: Error) => {
      assert.ok(error instanceof ProtocolMismatch);
      assert.match(error.message, /selection\s+best-of-8\s+\|\s+single/);
      assert.match(error.message, /steps\s+\(not stated\)\s+\|\s+50/);
      assert.doesNotMatch(error.message, /val2014/);
      return true;
    });
  });

  test('counts the metric as a difference', () => {
    assert.match(describeDifference(fid({}), { ...fid({}), metric: 'kid' }), /metric\s+fid\s+\|\s+kid/);
  });

  test('never carries a value that is not a number', () => {
    assert.throws(() => fid({}, NaN), /finite value, found NaN/);
    assert.throws(() => parseMeasurement('{"metric":"fid"}', 'a.json'), /a\.json: expected \{ metric, value, n, protocol \}/);
    assert.deepEqual(parseMeasurement(JSON.stringify(fid({})), 'a.json'), fid({}));
  });
});
