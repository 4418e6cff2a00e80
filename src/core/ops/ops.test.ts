import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { testEngines, useTestEngine } from '../engine/test-backends.js';
import { random } from '../random.js';
import * as ops from './index.js';
import { product } from './kernel.js';

/** An operation on the inputs to differentiate, given by their shapes. */
interface Case {
  inputs: Record<string, number[]>;
  run: (inputs: Record<string, any>) => tf.Tensor;
}

const ids = (values: number[], shape = [values.length]) => tf.tensor(values, shape, 'int32');
const normals = (shape: number[], ...name: (string | number)[]) => tf.tensor(random(1, ...name).normals(product(shape)), shape);

/** Cosines and sines of some angles, as both halves of a head share them. */
function angles(batch: number, tokens: number, headDim: number) {
  const half = normals([batch, tokens, headDim / 2], 'angles');
  const both = tf.concat([half, half], 2) as tf.Tensor3D;
  return [both.cos(), both.sin()] as const;
}

const qkv = (batch: number, tokens: number, keys: number, heads: number, kvHeads: number, headDim: number) => ({
  q: [batch, tokens, heads * headDim],
  k: [batch, keys, kvHeads * headDim],
  v: [batch, keys, kvHeads * headDim],
});
const bias = (batch: number, tokens: number, keys: number) =>
  normals([batch, 1, tokens, keys], 'bias').add(tf.oneHot(ids([0]), keys).toFloat().reshape([1, 1, 1, keys]).mul(-1e9)) as tf.Tensor4D;

const cases: Record<string, Case> = {
  linear: { inputs: { x: [2, 3, 5], w: [4, 5], b: [4] }, run: ({ x, w, b }) => ops.linear(x, w, b) },
  'linear without bias': { inputs: { x: [3, 5], w: [4, 5] }, run: ({ x, w }) => ops.linear(x, w) },
  'linear with a residual': { inputs: { x: [2, 3, 5], w: [4, 5], b: [4], r: [2, 3, 4] }, run: ({ x, w, b, r }) => ops.linear(x, w, b, r) },
  'linear, whose input goes on as the residual': { inputs: { x: [2, 3, 5], w: [5, 5] }, run: ({ x, w }) => ops.linear(x, w, undefined, x) },
  linears: {
    inputs: { x: [2, 3, 5], a: [4, 5], b: [4, 5], c: [2, 5], bias: [4] },
    run: ({ x, a, b, c, bias }) => tf.concat([...ops.linears(x, [{ weight: a }, { weight: b, bias }, { weight: c }]), x], 2),
  },
  'linears, of which one is used': { inputs: { x: [3, 5], a: [4, 5], b: [2, 5] }, run: ({ x, a, b }) => ops.linears(x, [{ weight: a }, { weight: b }])[1].add(a.sum().mul(0)) },
  'a residual stream through norms': {
    inputs: { x: [2, 3, 6], w: [6], b: [6], m: [6, 6] },
    run: ({ x, w, b, m }) => {
      const h = ops.linear(ops.rmsNorm(x, w, 0.01), m, undefined, x);
      return ops.linear(ops.layerNorm(h, w, b, 0.01), m, b, h);
    },
  },
  'embedding with a repeated id': { inputs: { table: [5, 3] }, run: ({ table }) => ops.embedding(table, ids([4, 1, 1, 0], [2, 2])) },
  rmsNorm: { inputs: { x: [2, 3, 7], w: [7] }, run: ({ x, w }) => ops.rmsNorm(x, w, 0.01) },
  layerNorm: { inputs: { x: [2, 3, 7], w: [7], b: [7] }, run: ({ x, w, b }) => ops.layerNorm(x, w, b, 0.01) },
  groupNorm: { inputs: { x: [2, 3, 2, 6], w: [6], b: [6] }, run: ({ x, w, b }) => ops.groupNorm(x, w, b, 3, 0.01) },
  'groupNorm with SiLU on [images, positions, channels]': { inputs: { x: [2, 5, 6], w: [6], b: [6] }, run: ({ x, w, b }) => ops.groupNorm(x, w, b, 2, 0.01, true) },
  rope: { inputs: { x: [2, 3, 8] }, run: ({ x }) => ops.rope(x, ...angles(1, 3, 4), 2) },
  'rope with positions for each sequence': { inputs: { x: [2, 3, 8] }, run: ({ x }) => ops.rope(x, ...angles(2, 3, 4), 2) },
  attention: { inputs: qkv(2, 3, 4, 2, 2, 3), run: ({ q, k, v }) => ops.attention(q, k, v, { numHeads: 2 }) },
  'causal attention with a cache': { inputs: qkv(2, 3, 5, 2, 2, 3), run: ({ q, k, v }) => ops.attention(q, k, v, { numHeads: 2, causal: true }) },
  'attention with rope': {
    inputs: qkv(2, 3, 3, 4, 2, 4),
    run: ({ q, k, v }) => {
      const [cos, sin] = angles(2, 3, 4);
      return ops.attention(q, k, v, { numHeads: 4, numKvHeads: 2, causal: true, bias: bias(2, 1, 3), rope: { cos, sin } });
    },
  },
  'grouped-query causal attention with a bias': {
    inputs: qkv(2, 4, 4, 4, 2, 3),
    run: ({ q, k, v }) => ops.attention(q, k, v, { numHeads: 4, numKvHeads: 2, causal: true, bias: bias(2, 4, 4) }),
  },
  'multi-query attention with one bias for all': {
    inputs: qkv(2, 3, 4, 3, 1, 2),
    run: ({ q, k, v }) => ops.attention(q, k, v, { numHeads: 3, numKvHeads: 1, bias: bias(1, 1, 4) }),
  },
  silu: { inputs: { x: [3, 5] }, run: ({ x }) => ops.activation(x, 'silu') },
  gelu: { inputs: { x: [3, 5] }, run: ({ x }) => ops.activation(x, 'gelu') },
  quickGelu: { inputs: { x: [3, 5] }, run: ({ x }) => ops.activation(x, 'quickGelu') },
  gated: { inputs: { a: [3, 5], b: [3, 5] }, run: ({ a, b }) => ops.gated(a, b, 'silu') },
  'gatedSplit, value first': { inputs: { x: [2, 3, 8] }, run: ({ x }) => ops.gatedSplit(x, 'gelu', 'value-gate') },
  'gatedSplit, gate first': { inputs: { x: [2, 3, 8] }, run: ({ x }) => ops.gatedSplit(x, 'silu', 'gate-value') },
  'conv2d, 3×3, stride 1': { inputs: { x: [2, 5, 4, 2], w: [3, 3, 2, 3], b: [3] }, run: ({ x, w, b }) => ops.conv2d(x, w, b, { padding: [1, 1, 1, 1] }) },
  'conv2d, 3×3, stride 2, padded below and right': { inputs: { x: [2, 5, 6, 2], w: [3, 3, 2, 3] }, run: ({ x, w }) => ops.conv2d(x, w, undefined, { stride: 2, padding: [0, 1, 0, 1] }) },
  'conv2d, patches': { inputs: { x: [2, 4, 6, 3], w: [2, 2, 3, 4], b: [4] }, run: ({ x, w, b }) => ops.conv2d(x, w, b, { stride: 2 }) },
  'conv2d with a residual, of an image used twice': {
    inputs: { x: [2, 5, 4, 3], w: [3, 3, 3, 3], b: [3], g: [3] },
    run: ({ x, w, b, g }) => ops.conv2d(ops.groupNorm(x, g, b, 3, 0.01, true), w, b, { padding: [1, 1, 1, 1], residual: x }).add(ops.conv2d(x, w, undefined, { padding: [1, 1, 1, 1] })),
  },
  'conv2d, 1×1': { inputs: { x: [2, 3, 3, 3], w: [1, 1, 3, 4], b: [4] }, run: ({ x, w, b }) => ops.conv2d(x, w, b) },
  'upsampleNearest by two': { inputs: { x: [2, 2, 3, 2] }, run: ({ x }) => ops.upsampleNearest(x, 4, 6) },
  'upsampleNearest to an odd size': { inputs: { x: [2, 2, 3, 2] }, run: ({ x }) => ops.upsampleNearest(x, 3, 5) },
  'crossEntropy with an ignored row': { inputs: { x: [4, 6] }, run: ({ x }) => ops.crossEntropy(x, ids([5, -100, 0, 2]) as tf.Tensor1D) },
  addRows: { inputs: { x: [2, 2, 3, 4], rows: [2, 4] }, run: ({ x, rows }) => ops.addRows(x, rows) },
};

/** Central differences of Σ(run · direction) in every element of one input. */
function differences({ run, inputs }: Case, values: Record<string, Float32Array>, direction: tf.Tensor, name: string): number[] {
  const step = 1e-2;
  const at = (i: number, change: number) =>
    tf.tidy(() => {
      const tensors = Object.fromEntries(
        Object.entries(inputs).map(([key, shape]) => {
          const copy = values[key].slice();
          if (key === name) copy[i] += change;
          return [key, tf.tensor(copy, shape)];
        }),
      );
      const terms = Array.from(run(tensors).mul(direction).dataSync());
      return terms.reduce((a, b) => a + b, 0);
    });
  // Five points: the error is of fourth order, so the step can be large against the rounding of float32.
  return Array.from(values[name], (_, i) => (8 * (at(i, step) - at(i, -step)) - (at(i, 2 * step) - at(i, -2 * step))) / (12 * step));
}

const backends = [{ name: 'cpu', use: () => tf.setBackend('cpu') }, ...testEngines().map((engine) => ({ name: engine.name, use: () => useTestEngine(engine) }))];

for (const backend of backends) {
  describe(`on ${backend.name}, the gradient of`, () => {
    before(async () => void (await backend.use()));

    for (const [title, it] of Object.entries(cases)) {
      test(`${title} agrees with finite differences and leaks nothing`, () => {
        const values = Object.fromEntries(Object.entries(it.inputs).map(([key, shape]) => [key, random(0, title, key).normals(product(shape))]));
        const variables = new Map(Object.entries(it.inputs).map(([key, shape]) => [key, tf.tensor(values[key], shape)]));
        const direction = tf.tidy(() => normals(it.run(Object.fromEntries(variables)).shape, 'direction', title));
        const before = tf.memory().numTensors;
        const loss = () => it.run(Object.fromEntries(variables)).mul(direction).sum() as tf.Scalar;
        const { value, grads } = ops.valueAndGrads(loss, variables);
        assert.equal(tf.memory().numTensors, before + 1 + grads.size);
        for (const [key, grad] of grads) {
          const found = grad.dataSync();
          const expected = differences(it, values, direction, key);
          const scale = Math.max(1, ...expected.map(Math.abs));
          expected.forEach((e, i) => assert.ok(Math.abs(found[i] - e) < 2e-3 * scale, `d${key}[${i}]: expected ${e}, found ${found[i]}`));
        }
        // Asked for one input alone, the others' gradients are neither needed nor kept.
        for (const key of variables.keys()) {
          const alone = ops.valueAndGrads(loss, new Map([[key, variables.get(key)!]]));
          assert.deepEqual(alone.grads.get(key)!.dataSync(), grads.get(key)!.dataSync());
          tf.dispose([alone.value, ...alone.grads.values()]);
        }
        tf.dispose([value, ...grads.values()]);
        assert.equal(tf.memory().numTensors, before);
        tf.dispose([direction, ...variables.values()]);
      });
    }
  });
}
