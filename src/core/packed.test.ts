import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { saveParams } from './checkpoint.js';
import type { DreamBackend, PackedFormat } from './engine/dream-backend.js';
import { testEngines, useTestEngine } from './engine/test-backends.js';
import { embedding, linear, valueAndGrads } from './ops/index.js';
import { loadPacked, pack } from './packed.js';
import { initialize, normal, param } from './params.js';
import { random } from './random.js';

const draw = (shape: number[], name: string) => tf.tensor(random(5, name).normals(shape.reduce((a, b) => a * b, 1)), shape);

/** Largest relative rounding of a value beside the largest of its group. */
const rounding: Record<PackedFormat, number> = { bf16: 2 ** -8, f16: 2 ** -11, int8: 0.5 / 127, int4: 0.5 / 8 + 1 / 16 };

for (const engine of testEngines()) {
  describe(`packed weights on ${engine.name}`, () => {
    before(() => useTestEngine(engine));

    for (const format of ['bf16', 'f16', 'int8', 'int4'] as const) {
      test(`${format}: rows are the matrix rounded, and products are exactly those of the rounded matrix`, () => {
        tf.tidy(() => {
          const weight = draw([45, 96], 'weight');
          const packed = pack(weight, format);
          const rounded = embedding(packed, tf.range(0, 45, 1, 'int32'));
          const [given, kept] = [weight.dataSync(), rounded.dataSync()];
          for (let group = 0; group < given.length; group += 32) {
            const extreme = Math.max(...given.slice(group, group + 32).map(Math.abs));
            for (let i = group; i < group + 32; i++) assert.ok(Math.abs(given[i] - kept[i]) <= rounding[format] * extreme, `${given[i]} became ${kept[i]}`);
          }
          const bias = draw([45], 'bias');
          for (const rows of [1, 3, 20]) {
            const x = draw([rows, 96], 'x');
            const difference = linear(x, packed, bias).sub(linear(x, rounded, bias)).abs().max().dataSync()[0];
            assert.ok(difference < 2e-5, `${rows} rows differ by ${difference}`);
            const dy = (w: tf.Tensor) => valueAndGrads(() => linear(x, w).square().sum() as tf.Scalar, new Map([['x', x]])).grads.get('x')!;
            assert.ok(dy(packed).sub(dy(rounded)).abs().max().dataSync()[0] < 2e-3);
          }
          packed.dispose();
        });
      });
    }

    test('a packed weight takes few bytes, is refused by other operations, and gives its memory back', () => {
      const { pool } = tf.backend() as DreamBackend;
      const used = pool.used;
      const packed = tf.tidy(() => pack(draw([256, 256], 'weight'), 'int4'));
      assert.ok(pool.used - used < 256 * 256 * 0.7, `${pool.used - used} bytes`);
      assert.throws(() => tf.tidy(() => packed.add(1)), /stored as int4.*Load it as float32/);
      packed.dispose();
      assert.equal(pool.used, used);
      assert.throws(() => tf.tidy(() => pack(draw([2, 33], 'weight'), 'int8')), /multiples of 32, found \[2,33\]/);
    });

    test('a checkpoint loads packed: stored halves as they are, others rounded, small and odd tensors as floats', () => {
      const folder = mkdtempSync(join(tmpdir(), 'dreamllm-packed-'));
      const spec = { proj: { weight: param<tf.Rank.R2>([64, 96], normal(1)), bias: param<tf.Rank.R1>([64], normal(1)) }, conv: param<tf.Rank.R4>([3, 3, 4, 5], normal(1), 'conv') };
      const params = initialize(spec, 0);
      const file = join(folder, 'model.safetensors');
      saveParams(file, params, { dtype: 'bf16' });
      const x = draw([4, 96], 'x');
      const exact = linear(x, params.proj.weight, params.proj.bias);
      for (const format of ['bf16', 'int8'] as const) {
        const loaded = loadPacked(spec, file, format);
        const y = linear(x, loaded.proj.weight, loaded.proj.bias);
        assert.ok(tf.tidy(() => y.sub(exact).abs().max().dataSync()[0]) < 0.2);
        assert.ok(tf.tidy(() => loaded.conv.sub(params.conv).abs().max().dataSync()[0]) < 0.02);
        tf.dispose([y, loaded.proj.weight, loaded.proj.bias, loaded.conv]);
      }
      assert.throws(() => loadPacked({ other: spec.conv }, file, 'bf16'), /has no tensor "other"/);
      tf.dispose([x, exact, params.proj.weight, params.proj.bias, params.conv]);
      rmSync(folder, { recursive: true });
    });
  });
}
