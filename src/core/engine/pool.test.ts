import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { random } from '../random.js';
import type { Block, Engine } from './engine.js';
import { Pool } from './pool.js';

/** An engine that has memory and nothing else. */
const memory = (): Engine => ({
  name: 'native', variant: 'test', threads: 1, isDeferred: false,
  allocate: (bytes) => ({ buffer: new ArrayBuffer(bytes), offset: 0, bytes }),
  call: () => assert.fail('the pool calls no kernel'),
  post: () => assert.fail('the pool calls no kernel'),
  finish() {},
  finished: () => Promise.resolve(),
  busy: () => 0,
});

const mebibyte = 2 ** 20;

describe('the pool', () => {
  test('gives blocks that are large enough, aligned, and shared by nobody', () => {
    const pool = new Pool(memory());
    const stream = random(0, 'pool');
    const held: { block: Block; mark: number }[] = [];
    const marks = ({ buffer, offset, bytes }: Block) => new Uint32Array(buffer, offset, bytes / 4);
    for (let mark = 1; mark <= 2000; mark++) {
      const bytes = Math.ceil(2 ** (4 + 17 * stream.uniform()));
      const block = pool.take(bytes);
      assert.ok(block.bytes >= bytes && block.offset % 64 === 0 && block.offset + block.bytes <= block.buffer.byteLength);
      marks(block).fill(mark);
      held.push({ block, mark });
      while (held.length > 100) {
        const [freed] = held.splice(stream.integer(held.length), 1);
        assert.ok(marks(freed.block).every((found) => found === freed.mark));
        pool.give(freed.block);
      }
    }
    for (const { block } of held) pool.give(block);
    assert.equal(pool.used, 0);
  });

  test('joins what was given back, in any order', () => {
    for (const order of [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]]) {
      const pool = new Pool(memory());
      const quarters = order.map(() => pool.take(16 * mebibyte));
      for (const i of order) pool.give(quarters[i]);
      const { reserved } = pool;
      pool.give(pool.take(4 * 16 * mebibyte));
      assert.equal(pool.reserved, reserved);
    }
  });

  test('holds little more than is used at once, however sizes vary from step to step', () => {
    const pool = new Pool(memory());
    const stream = random(1, 'pool');
    let most = 0;
    for (let step = 0; step < 60; step++) {
      const length = 64 + stream.integer(192);
      const blocks = Array.from({ length: 60 }, (_, layer) => pool.take(length * (1 + (layer % 5)) * 4096));
      most = Math.max(most, pool.used);
      for (const block of blocks.reverse()) pool.give(block);
    }
    assert.ok(pool.reserved < 1.5 * most, `${pool.reserved} bytes reserved, ${most} used at once`);
  });
});
