import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { modelBackends } from './engine/test-backends.js';
import { decodeValues, encodeValues, reusedScratch } from './safetensors.js';
import { canWiden, widen } from './widen.js';

const values = Float32Array.of(0, -0, 1, -2.5, 65504, 2 ** -24, -(2 ** -14), 3.14159, 1e-3, 7);

for (const { name, use } of modelBackends()) {
  describe(`widen on ${name}`, () => {
    before(use);

    for (const dtype of ['F32', 'F16', 'BF16'] as const) {
      test(`gives the values of ${dtype}, and lets the bytes go`, () => {
        const bytes = encodeValues(dtype, values);
        const expected = decodeValues(dtype, bytes.slice());
        const scratch = reusedScratch();
        const given = scratch(bytes.length);
        given.set(bytes);
        const tensors = tf.memory().numTensors;
        const { tensor, notFinite } = widen(dtype, given, [2, 5]);
        scratch(bytes.length).fill(0xff);
        assert.equal(notFinite, 0);
        assert.deepEqual(tensor.dataSync(), expected);
        assert.deepEqual(tensor.add(1).shape, [2, 5]);
        tensor.dispose();
        assert.equal(tf.memory().numTensors, tensors + 1);
      });

      test(`counts what is not finite in ${dtype}`, () => {
        const bytes = encodeValues(dtype, Float32Array.of(NaN, 1, Infinity, -Infinity));
        assert.equal(widen(dtype, bytes.slice(), [4]).notFinite, 3);
        assert.equal(widen(dtype, encodeValues(dtype, Float32Array.of(1, 2, NaN)).slice(), [3]).notFinite, 1, 'an odd number of values');
      });
    }

    test('takes a scalar and a tensor without elements', () => {
      assert.deepEqual(Array.from(widen('F32', encodeValues('F32', Float32Array.of(5)).slice(), []).tensor.dataSync()), [5]);
      assert.equal(widen('BF16', new Uint8Array(0), [0, 3]).tensor.size, 0);
    });
  });
}

test('widen is for floats of up to 32 bits', () => assert.deepEqual(['F32', 'F16', 'BF16', 'F64', 'I32'].map((dtype) => canWiden(dtype as 'F32')), [true, true, true, false, false]));
