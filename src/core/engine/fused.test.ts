import assert from 'node:assert/strict';
import { describe, test, before } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import * as ops from '../ops/index.js';
import { random } from '../random.js';
import { testEngines, useTestEngine } from './test-backends.js';

type Case = { shapes: number[][]; run: (...inputs: any[]) => tf.Tensor };

const ints = (values: number[], shape: number[] = [values.length]) => () => tf.tensor(values, shape, 'int32');

/** Every fused operation with sizes that fill no vector or tile evenly, and some that fill several. */
const cases: Record<string, Case> = {
  linear: { shapes: [[2, 3, 5], [7, 5], [7]], run: (x, w, b) => ops.linear(x, w, b) },
  'linear, larger, without bias': { shapes: [[130, 67], [75, 67]], run: (x, w) => ops.linear(x, w) },
  'linear of one row': { shapes: [[1, 300], [90, 300], [90]], run: (x, w, b) => ops.linear(x, w, b) },
  'linear with a residual': { shapes: [[70, 67], [75, 67], [75], [70, 75]], run: (x, w, b, r) => ops.linear(x, w, b, r) },
  'linear of one row with a residual': { shapes: [[1, 300], [90, 300], [1, 90]], run: (x, w, r) => ops.linear(x, w, undefined, r) },
  linears: { shapes: [[2, 65, 33], [40, 33], [33, 33], [33]], run: (x, a, b, bias) => tf.concat([...ops.linears(x, [{ weight: a }, { weight: b, bias }]), x], 2) },
  'rmsNorm of what goes on': { shapes: [[3, 5, 21], [21]], run: (x, w) => ops.rmsNorm(x, w, 1e-5).add(x) },
  'layerNorm of what goes on': { shapes: [[70, 33], [33], [33]], run: (x, w, b) => ops.layerNorm(x, w, b, 1e-5).add(x) },
  'groupNorm of what goes on': { shapes: [[2, 9, 7, 6], [6], [6]], run: (x, w, b) => ops.groupNorm(x, w, b, 3, 1e-5, true).add(x) },
  embedding: { shapes: [[9, 6]], run: (table) => ops.embedding(table, ints([3, 0, 3, 8, 8, 8], [2, 3])()) },
  rmsNorm: { shapes: [[3, 5, 21], [21]], run: (x, w) => ops.rmsNorm(x, w, 1e-5) },
  layerNorm: { shapes: [[70, 33], [33], [33]], run: (x, w, b) => ops.layerNorm(x, w, b, 1e-5) },
  groupNorm: { shapes: [[3, 4, 5, 12], [12], [12]], run: (x, w, b) => ops.groupNorm(x, w, b, 4, 1e-5) },
  'groupNorm with SiLU': { shapes: [[2, 9, 7, 6], [6], [6]], run: (x, w, b) => ops.groupNorm(x, w, b, 3, 1e-5, true) },
  rope: {
    shapes: [[2, 5, 12]],
    run: (x) => ops.rope(x, tf.cos(tf.range(0, 20).reshape([1, 5, 4])) as tf.Tensor3D, tf.sin(tf.range(0, 20).reshape([1, 5, 4])) as tf.Tensor3D, 3),
  },
  'attention with rope': {
    shapes: [[2, 5, 12], [2, 5, 12], [2, 5, 12]],
    run: (q, k, v) => ops.attention(q, k, v, { numHeads: 3, causal: true, rope: { cos: tf.cos(tf.range(0, 20).reshape([1, 5, 4])) as tf.Tensor3D, sin: tf.sin(tf.range(0, 20).reshape([1, 5, 4])) as tf.Tensor3D } }),
  },
  attention: { shapes: [[2, 5, 12], [2, 7, 12], [2, 7, 12]], run: (q, k, v) => ops.attention(q, k, v, { numHeads: 3 }) },
  'causal attention': { shapes: [[2, 9, 8], [2, 9, 8], [2, 9, 8]], run: (q, k, v) => ops.attention(q, k, v, { numHeads: 2, causal: true }) },
  'causal attention with a cache': { shapes: [[1, 2, 8], [1, 9, 8], [1, 9, 8]], run: (q, k, v) => ops.attention(q, k, v, { numHeads: 1, causal: true }) },
  'attention with shared keys': { shapes: [[2, 6, 16], [2, 6, 8], [2, 6, 8]], run: (q, k, v) => ops.attention(q, k, v, { numHeads: 4, numKvHeads: 2, causal: true }) },
  'attention with a bias': {
    shapes: [[2, 4, 6], [2, 5, 6], [2, 5, 6]],
    run: (q, k, v) => ops.attention(q, k, v, { numHeads: 2, bias: tf.linspace(-1, 1, 10).reshape([2, 1, 1, 5]) as tf.Tensor4D }),
  },
  'long causal attention': { shapes: [[1, 150, 10], [1, 300, 10], [1, 300, 10]], run: (q, k, v) => ops.attention(q, k, v, { numHeads: 1, causal: true }) },
  'attention of three sequences behind each other': {
    shapes: [[1, 80, 12], [1, 80, 6], [1, 80, 6]],
    run: (q, k, v) => ops.attention(q, k, v, { numHeads: 4, numKvHeads: 2, causal: true, lengths: [70, 1, 9] }),
  },
  'attention with rope of two sequences behind each other': {
    shapes: [[1, 5, 12], [1, 5, 12], [1, 5, 12]],
    run: (q, k, v) => {
      const angles = tf.tensor1d([0, 1, 0, 1, 2]).reshape([1, 5, 1]).add(tf.zeros([1, 5, 4]));
      return ops.attention(q, k, v, { numHeads: 3, causal: true, rope: { cos: tf.cos(angles) as tf.Tensor3D, sin: tf.sin(angles) as tf.Tensor3D }, lengths: [2, 3] });
    },
  },
  silu: { shapes: [[3, 37]], run: (x) => ops.activation(x, 'silu') },
  gelu: { shapes: [[3, 37]], run: (x) => ops.activation(x, 'gelu') },
  quickGelu: { shapes: [[3, 37]], run: (x) => ops.activation(x, 'quickGelu') },
  gated: { shapes: [[3, 19], [3, 19]], run: (g, v) => ops.gated(g, v, 'silu') },
  'gatedSplit, value first': { shapes: [[3, 22]], run: (x) => ops.gatedSplit(x, 'gelu', 'value-gate') },
  'gatedSplit, gate first': { shapes: [[3, 22]], run: (x) => ops.gatedSplit(x, 'quickGelu', 'gate-value') },
  conv2d: { shapes: [[2, 7, 6, 3], [3, 3, 3, 5], [5]], run: (x, f, b) => ops.conv2d(x, f, b, { padding: [1, 1, 1, 1] }) },
  'conv2d with a residual, of an image used twice': { shapes: [[2, 7, 6, 5], [3, 3, 5, 5], [5]], run: (x, f, b) => ops.conv2d(x, f, b, { padding: [1, 1, 1, 1], residual: x }) },
  'strided conv2d of an image used twice': {
    shapes: [[2, 7, 8, 3], [3, 3, 3, 4]],
    run: (x, f) => tf.concat([ops.conv2d(x, f, undefined, { stride: 2, padding: [0, 1, 0, 1] }).flatten(), ops.conv2d(x, f, undefined, { stride: 2, padding: [1, 1, 1, 1] }).flatten()]),
  },
  'strided conv2d': { shapes: [[2, 7, 8, 3], [3, 3, 3, 4], [4]], run: (x, f, b) => ops.conv2d(x, f, b, { stride: 2, padding: [0, 1, 0, 1] }) },
  'conv2d of patches': { shapes: [[2, 9, 9, 3], [4, 4, 3, 6]], run: (x, f) => ops.conv2d(x, f, undefined, { stride: 4 }) },
  'pointwise conv2d': { shapes: [[2, 5, 4, 20], [1, 1, 20, 9], [9]], run: (x, f, b) => ops.conv2d(x, f, b) },
  'large conv2d': { shapes: [[1, 13, 12, 35], [3, 3, 35, 40]], run: (x, f) => ops.conv2d(x, f, undefined, { padding: [1, 1, 1, 1] }) },
  upsampleNearest: { shapes: [[2, 3, 4, 5]], run: (x) => ops.upsampleNearest(x, 6, 8) },
  'uneven upsampleNearest': { shapes: [[2, 3, 5, 2]], run: (x) => ops.upsampleNearest(x, 7, 8) },
  crossEntropy: { shapes: [[5, 23]], run: (logits) => ops.crossEntropy(logits, ints([0, -100, 22, 3, 3])() as tf.Tensor1D) },
  addRows: { shapes: [[2, 3, 4, 5], [2, 5]], run: (x, rows) => ops.addRows(x, rows) },
};

/** The result and the gradients of a weighted sum of it, as plain numbers. */
function evaluate({ shapes, run }: Case): Float32Array[] {
  return tf.tidy(() => {
    const stream = random(7, 'fused');
    const inputs = shapes.map((shape) => tf.tensor(stream.normals(shape.reduce((a, b) => a * b, 1)), shape));
    const { value, grads } = ops.valueAndGrads(
      () => {
        const y = run(...inputs);
        return y.mul(tf.tensor(random(8, 'weights').normals(y.size), y.shape)).sum() as tf.Scalar;
      },
      new Map(inputs.map((input, i) => [String(i), input])),
    );
    return [run(...inputs), value, ...grads.values()].map((tensor) => tensor.dataSync() as Float32Array);
  });
}

const expected = new Map<string, Float32Array[]>();

for (const engine of testEngines()) {
  describe(`the fused operations on ${engine.name}`, () => {
    before(async () => {
      await tf.setBackend('cpu');
      for (const [name, one] of Object.entries(cases)) if (!expected.has(name)) expected.set(name, evaluate(one));
      await useTestEngine(engine);
    });
    for (const [name, one] of Object.entries(cases)) {
      test(`agree with stock operations: ${name}`, () => {
        const tensors = tf.memory().numTensors;
        const found = evaluate(one);
        found.forEach((values, i) => close(values, expected.get(name)![i], `${name}, ${i < 2 ? 'value' : `gradient ${i - 2}`}`));
        assert.equal(tf.memory().numTensors, tensors);
      });
    }

    test('agree with stock operations: globalNorm', () => {
      const sizes = [0, 1, 5, 40_000];
      const values = sizes.map((count) => random(9, 'norm', count).normals(count));
      const [found] = tf.tidy(() => ops.globalNorm(values.map((each) => tf.tensor1d(each)))).dataSync();
      const wanted = Math.hypot(...values.flatMap((each) => [...each]));
      assert.ok(Math.abs(found / wanted - 1) < 1e-6, `${found} for ${wanted}`);
    });
  });
}

function close(found: Float32Array, wanted: Float32Array, what: string): void {
  assert.equal(found.length, wanted.length, what);
  const scale = Math.max(1e-3, ...wanted.map(Math.abs));
  found.forEach((value, i) => {
    if (!(Math.abs(value - wanted[i]) <= 2e-5 * scale)) assert.fail(`${what}: element ${i} is ${value}, expected ${wanted[i]}`);
  });
}
