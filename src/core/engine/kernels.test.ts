import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { random } from '../random.js';
import type { Engine, KernelName, Values } from './engine.js';
import { Pool, view } from './pool.js';
import * as reference from './reference.js';
import { testEngines } from './test-backends.js';

const SIZES = [1, 2, 3, 5, 7, 12, 16, 17, 31, 33, 48, 65];
const stream = random(0, 'kernels');
const size = () => stream.choice(SIZES);
const upTo = (most: number) => 1 + stream.integer(most);
const normals = (count: number) => stream.normals(count);
const flag = () => stream.integer(2) === 1;

/** A tensor that the kernel writes: so many floats, NaN before, or the given values. */
class Output {
  constructor(readonly start: number | Float32Array) {}
}
const out = (start: number | Float32Array) => new Output(start);

type Argument = Values | number[] | Output | null;

/** Runs a kernel on fresh memory and returns its outputs. */
function call(engine: Engine, kernel: KernelName, tensors: readonly Argument[], numbers: readonly number[]): Float32Array[] {
  const pool = pools.get(engine) ?? new Pool(engine);
  pools.set(engine, pool);
  const taken = tensors.map((tensor) => {
    if (tensor === null) return null;
    const given = tensor instanceof Output ? (typeof tensor.start === 'number' ? new Float32Array(tensor.start).fill(NaN) : tensor.start) : tensor;
    const block = pool.take(given.length * 4);
    const values = view(block, given instanceof Int32Array ? 'int32' : given instanceof Uint8Array ? 'bool' : 'float32', given.length);
    values.set(given);
    return { block, values };
  });
  engine.call(kernel, taken.map((one) => one && one.values), numbers);
  const outputs = taken.filter((_, i) => tensors[i] instanceof Output).map((one) => (one!.values as Float32Array).slice());
  for (const one of taken) if (one) pool.give(one.block);
  return outputs;
}
const pools = new Map<Engine, Pool>();

/** Every element within `tolerance` of the largest magnitude; NaN and infinity where the reference has them. */
function close(found: Float32Array, expected: reference.Numbers, what: string, tolerance = 3e-6): void {
  assert.equal(found.length, expected.length, what);
  let scale = 1;
  for (let i = 0; i < expected.length; i++) if (Number.isFinite(expected[i])) scale = Math.max(scale, Math.abs(expected[i]));
  for (let i = 0; i < expected.length; i++) {
    const same = Number.isFinite(expected[i]) ? Math.abs(found[i] - expected[i]) <= tolerance * scale : Object.is(found[i], expected[i]);
    if (!same) assert.fail(`${what}: element ${i} of ${found.length} is ${found[i]}, expected ${expected[i]}`);
  }
}

function checkGemm(engine: Engine, m: number, n: number, k: number, batch: number): void {
  const [transposeA, transposeB, accumulate] = [flag(), flag(), flag()];
  const [a, b, c] = [normals(batch * m * k), normals(batch * k * n), normals(batch * m * n)];
  const bias = !accumulate && flag() ? normals(n) : null;
  const addend = !accumulate && flag() ? normals(batch * m * n) : null;
  const numbers = [batch, m * k, k * n, m * n, m, n, k, transposeA ? m : k, transposeB ? k : n, n, +transposeA, +transposeB, +accumulate];
  const [found] = call(engine, 'gemm', [a, b, out(accumulate ? c : batch * m * n), bias, addend], numbers);
  const expected: number[] = [];
  for (let i = 0; i < batch; i++) {
    const start = (r: number, j: number) => (accumulate ? c[(i * m + r) * n + j] : (bias ? bias[j] : 0) + (addend ? addend[(i * m + r) * n + j] : 0));
    expected.push(...reference.gemm(a.subarray(i * m * k), b.subarray(i * k * n), start, { m, n, k, transposeA, transposeB }));
  }
  close(found, expected, `gemm ${JSON.stringify({ m, n, k, batch, transposeA, transposeB, accumulate, bias: !!bias, addend: !!addend })}`);
}

function checkConv(engine: Engine, s: Partial<reference.ConvSizes> = {}): void {
  const [height, width, kh, kw] = [upTo(9), upTo(9), upTo(4), upTo(4)];
  const [top, left, stride] = [stream.integer(kh), stream.integer(kw), upTo(3)];
  const drawn = { images: upTo(2), height, width, inputs: stream.choice([1, 2, 3, 7, 13, 17]), outputs: stream.choice([1, 3, 8, 17, 33]), kh, kw, stride, top, left, ...s };
  const reach = (extent: number, before: number, kernel: number, after: number) => Math.max(0, Math.floor((extent + before + after - kernel) / drawn.stride) + 1);
  const sizes = { ...drawn, outHeight: reach(drawn.height, drawn.top, drawn.kh, stream.integer(drawn.kh)), outWidth: reach(drawn.width, drawn.left, drawn.kw, stream.integer(drawn.kw)) };
  const { images, inputs, outputs, outHeight, outWidth } = sizes;
  const numbers = [images, sizes.height, sizes.width, inputs, outHeight, outWidth, outputs, sizes.kh, sizes.kw, sizes.stride, sizes.top, sizes.left];
  const [x, filter] = [normals(images * sizes.height * sizes.width * inputs), normals(sizes.kh * sizes.kw * inputs * outputs)];
  const dy = normals(images * outHeight * outWidth * outputs);
  const bias = flag() ? normals(outputs) : null;
  const [addend, soFar] = [flag() ? normals(dy.length) : null, flag() ? normals(x.length) : null];
  const plus = (values: ArrayLike<number>, more: Float32Array | null) => Array.from(values, (v, i) => v + (more ? more[i] : 0));
  const what = JSON.stringify({ ...sizes, bias: !!bias, addend: !!addend, soFar: !!soFar });
  close(call(engine, 'conv', [x, filter, out(dy.length), bias, addend], numbers)[0], plus(reference.conv(x, filter, bias, sizes), addend), `conv ${what}`);
  close(call(engine, 'conv_grad_input', [dy, filter, out(x.length), soFar], numbers)[0], plus(reference.convGradInput(dy, filter, sizes), soFar), `conv_grad_input ${what}`);
  close(call(engine, 'conv_grad_filter', [x, dy, out(filter.length)], numbers)[0], reference.convGradFilter(x, dy, sizes), `conv_grad_filter ${what}`);
}

function checkAttention(engine: Engine, s: Partial<reference.AttentionSizes> = {}): void {
  const kvHeads = upTo(2);
  const tokens = size();
  const batch = upTo(2);
  const drawn = { batch, tokens, keys: tokens + stream.integer(9), heads: kvHeads * upTo(2), kvHeads, dim: upTo(20), causal: flag(), scale: 0.7, biasBatch: stream.choice([1, batch]), biasRows: stream.choice([1, tokens]), ...s };
  const { heads, dim, keys } = drawn;
  const q = normals(drawn.batch * drawn.tokens * heads * dim);
  const [k, v] = [normals(drawn.batch * keys * drawn.kvHeads * dim), normals(drawn.batch * keys * drawn.kvHeads * dim)];
  const dy = normals(q.length);
  const bias = flag() ? normals(drawn.biasBatch * drawn.biasRows * keys) : null;
  const strides = [drawn.biasBatch > 1 ? drawn.biasRows * keys : 0, drawn.biasRows > 1 ? keys : 0];
  const numbers = [drawn.batch, drawn.tokens, keys, heads, drawn.kvHeads, dim, +drawn.causal, drawn.scale, ...strides, keys];
  const expected = reference.attention(q, k, v, bias, dy, drawn);
  const [y, lse] = call(engine, 'attention', [q, k, v, bias, out(q.length), out(expected.lse.length)], numbers);
  const [dq, dk, dv] = call(engine, 'attention_grad', [q, k, v, bias, y, lse, dy, out(q.length), out(k.length), out(v.length), new Float32Array(lse.length)], numbers);
  const what = JSON.stringify({ ...drawn, bias: !!bias });
  for (const [found, wanted, name] of [[y, expected.y, 'y'], [lse, expected.lse, 'lse'], [dq, expected.dq, 'dq'], [dk, expected.dk, 'dk'], [dv, expected.dv, 'dv']] as const) {
    close(found, wanted, `attention ${name} ${what}`, 1e-5);
  }
}

/** Sequences of unequal length behind each other: as each of them alone, to the bit. */
function checkSequences(engine: Engine, lengths: readonly number[]): void {
  const [kvHeads, heads, dim, rows] = [1, 2, upTo(20), lengths.reduce((a, b) => a + b, 0)];
  const [q, dy] = [normals(rows * heads * dim), normals(rows * heads * dim)];
  const [k, v] = [normals(rows * kvHeads * dim), normals(rows * kvHeads * dim)];
  const numbers = (batch: number, tokens: number) => [batch, tokens, tokens, heads, kvHeads, dim, 1, 0.7, 0, 0, tokens];
  const evaluate = (batch: number, tokens: number, part: (x: Float32Array) => Float32Array, starts: Int32Array | null) => {
    const [pq, pk, pv, pdy] = [q, k, v, dy].map(part);
    const statistics = (pq.length / dim) | 0;
    const [y, lse] = call(engine, 'attention', [pq, pk, pv, null, out(pq.length), out(statistics), starts], numbers(batch, tokens));
    const gradients = call(engine, 'attention_grad', [pq, pk, pv, null, y, lse, pdy, out(pq.length), out(pk.length), out(pv.length), new Float32Array(statistics), starts], numbers(batch, tokens));
    return [y, lse, ...gradients];
  };
  const starts = Int32Array.from([0, ...lengths.map((_, i) => lengths.slice(0, i + 1).reduce((a, b) => a + b, 0))]);
  const together = evaluate(lengths.length, Math.max(...lengths), (x) => x, starts);
  lengths.forEach((length, i) => {
    const cut = (x: Float32Array) => x.slice((x.length * starts[i]) / rows, (x.length * starts[i + 1]) / rows);
    evaluate(1, length, cut, null).forEach((alone, j) => assert.deepEqual(cut(together[j] as Float32Array), alone, `${['y', 'lse', 'dq', 'dk', 'dv'][j]} of sequence ${i} of ${lengths}`));
  });
}

/** One layer for the next token of a few sequences, in float64. Keys and values of the new token are put into the given caches. */
function decodeReference(t: Record<string, Float32Array>, s: DecodeSizes): number[] {
  const { rows, dim, heads, kvHeads, headDim, inner, length, room } = s;
  const kvDim = kvHeads * headDim;
  const norm = (x: readonly number[], w: Float32Array) => {
    const rstd = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / dim + s.eps);
    return x.map((v, i) => v * rstd * w[i]);
  };
  const times = (x: readonly number[], w: Float32Array) => Array.from({ length: w.length / x.length }, (_, j) => x.reduce((sum, v, i) => sum + v * w[j * x.length + i], 0));
  const rotate = (x: readonly number[], at: number) => x.map((v, i) => {
    const c = i % headDim;
    const other = c < headDim / 2 ? -x[i + headDim / 2] : x[i - headDim / 2];
    return v * t.cos[at + c] + other * t.sin[at + c];
  });
  const y: number[] = [];
  for (let r = 0; r < rows; r++) {
    const x = [...t.x.subarray(r * dim, (r + 1) * dim)];
    const normal = norm(x, t.norm1);
    const q = rotate(times(normal, t.q), r * s.angleRow);
    t.keys.set(rotate(times(normal, t.k), r * s.angleRow), (r * room + length) * kvDim);
    t.values.set(times(normal, t.v), (r * room + length) * kvDim);
    const mixed = q.map((_, i) => {
      const [h, c] = [Math.floor(i / headDim), i % headDim];
      const cell = (j: number, column: number) => (r * room + j) * kvDim + Math.floor(h / (heads / kvHeads)) * headDim + column;
      const scores = Array.from({ length: length + 1 }, (_, j) => {
        let sum = 0;
        for (let e = 0; e < headDim; e++) sum += q[h * headDim + e] * t.keys[cell(j, e)];
        return sum * s.scale + (t.bias ? t.bias[r * s.biasRow + j] : 0);
      });
      const peak = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - peak));
      return weights.reduce((sum, w, j) => sum + w * t.values[cell(j, c)], 0) / weights.reduce((a, b) => a + b);
    });
    const attended = times(mixed, t.o).map((v, i) => v + x[i]);
    const [gate, up] = [times(norm(attended, t.norm2), t.gate), times(norm(attended, t.norm2), t.up)];
    const hidden = Array.from({ length: inner }, (_, i) => (gate[i] / (1 + Math.exp(-gate[i]))) * up[i]);
    y.push(...times(hidden, t.down).map((v, i) => v + attended[i]));
  }
  return y;
}

interface DecodeSizes { rows: number; dim: number; heads: number; kvHeads: number; headDim: number; inner: number; length: number; room: number; eps: number; scale: number; angleRow: number; biasRow: number }

function decodeTensors(s: DecodeSizes, biased: boolean): Record<string, Float32Array> {
  const { rows, dim, heads, kvHeads, headDim, inner, length, room } = s;
  const [qDim, kvDim, caches] = [heads * headDim, kvHeads * headDim, rows * room * kvHeads * headDim];
  const matrix = (out: number, inSize: number) => normals(out * inSize).map((v) => v / Math.sqrt(inSize));
  return {
    x: normals(rows * dim), norm1: normals(dim), q: matrix(qDim, dim), k: matrix(kvDim, dim), v: matrix(kvDim, dim), o: matrix(dim, qDim), norm2: normals(dim),
    gate: matrix(inner, dim), up: matrix(inner, dim), down: matrix(dim, inner), cos: normals((s.angleRow ? rows : 1) * headDim), sin: normals((s.angleRow ? rows : 1) * headDim),
    keys: normals(caches), values: normals(caches), ...(biased ? { bias: normals((s.biasRow ? rows : 1) * (length + 1)) } : {}),
  };
}

function decodeCall(engine: Engine, t: Record<string, Float32Array>, s: DecodeSizes): Float32Array[] {
  const { rows, dim, heads, kvHeads, headDim, inner, length, room } = s;
  const { x, norm1, q, k, v, o, norm2, gate, up, down, cos, sin } = t;
  const numbers = [rows, dim, heads, kvHeads, headDim, inner, length, room, s.eps, s.scale, s.angleRow, s.biasRow];
  return call(engine, 'decode_layer', [x, norm1, q, k, v, o, norm2, gate, up, down, cos, sin, out(t.keys), out(t.values), t.bias ?? null, out(rows * dim)], numbers);
}

function checkDecode(engine: Engine, given: Partial<DecodeSizes> = {}): void {
  const kvHeads = upTo(3);
  const headDim = 2 * upTo(20);
  const length = stream.integer(70);
  const sizes: DecodeSizes = {
    rows: upTo(6), dim: size(), heads: kvHeads * upTo(2), kvHeads, headDim, inner: size(), length, room: length + upTo(5), eps: 1e-5, scale: 0.4,
    angleRow: flag() ? headDim : 0, biasRow: flag() ? length + 1 : 0, ...given,
  };
  const tensors = decodeTensors(sizes, flag());
  const [keys, values, y] = decodeCall(engine, tensors, sizes);
  const what = `decode_layer ${JSON.stringify(sizes)}`;
  close(y, decodeReference(tensors, sizes), what, 1e-5);
  close(keys, tensors.keys, `${what} keys`);
  close(values, tensors.values, `${what} values`);
}

function checkNorms(engine: Engine): void {
  const [rows, dim] = [size(), size()];
  const [x, w, b, dy] = [normals(rows * dim), normals(dim), normals(dim), normals(rows * dim)];
  const scaled = (d: Float32Array) => d.map((value, i) => value * w[i % dim]);
  const columns = (f: (i: number) => number) => Array.from({ length: dim }, (_, c) => Array.from({ length: rows }, (_, r) => f(r * dim + c)).reduce((p, q) => p + q, 0));
  const what = `${rows} x ${dim}`;

  const rms = reference.normalize(x, rows, 1, dim, 1, 1e-5, false);
  const [y, rstd] = call(engine, 'rms_norm', [x, w, out(x.length), out(rows)], [rows, dim, 1e-5]);
  close(y, rms.normal.map((value, i) => value * w[i % dim]), `rms_norm ${what}`);
  close(rstd, rms.rstd, `rms_norm rstd ${what}`);
  close(call(engine, 'rms_norm_grad_input', [x, w, rstd, dy, out(x.length)], [rows, dim])[0], rms.backward(scaled(dy)), `rms_norm_grad_input ${what}`, 2e-5);
  close(call(engine, 'rms_norm_grad_weight', [x, rstd, dy, out(dim)], [rows, dim])[0], columns((i) => dy[i] * rms.normal[i]), `rms_norm_grad_weight ${what}`);

  // One column has no variance: gradients there are as large as 1 / sqrt(eps) and their errors too, so the comparison needs two.
  if (dim === 1) return;
  const layer = reference.normalize(x, rows, 1, dim, 1, 1e-2, true);
  const [ly, mean, lrstd] = call(engine, 'layer_norm', [x, w, b, out(x.length), out(rows), out(rows)], [rows, dim, 1e-2]);
  close(ly, layer.normal.map((value, i) => value * w[i % dim] + b[i % dim]), `layer_norm ${what}`, 1e-5);
  close(mean, layer.mean, `layer_norm mean ${what}`);
  close(lrstd, layer.rstd, `layer_norm rstd ${what}`, 1e-5);
  close(call(engine, 'layer_norm_grad_input', [x, w, mean, lrstd, dy, out(x.length)], [rows, dim])[0], layer.backward(scaled(dy)), `layer_norm_grad_input ${what}`, 2e-5);
  const [dw, db] = call(engine, 'layer_norm_grad_params', [x, mean, lrstd, dy, out(dim), out(dim)], [rows, dim]);
  close(dw, columns((i) => dy[i] * layer.normal[i]), `layer_norm dweight ${what}`, 1e-5);
  close(db, columns((i) => dy[i]), `layer_norm dbias ${what}`);
}

function checkGroupNorm(engine: Engine, images: number, positions: number, groups: number, width: number, silu: boolean): void {
  const channels = groups * width;
  const count = images * positions * channels;
  const [x, w, b, dy] = [normals(count), normals(channels), normals(channels), normals(count)];
  const what = JSON.stringify({ images, positions, groups, width, silu });
  const eps = 1e-2;
  const numbers = [images, positions, channels, groups, eps, +silu];
  const { mean, rstd, normal, backward } = reference.normalize(x, images, positions, channels, groups, eps, true);
  const affine = normal.map((value, i) => value * w[i % channels] + b[i % channels]);
  const [y, fmean, frstd] = call(engine, 'group_norm', [x, w, b, out(count), out(images * groups), out(images * groups)], numbers);
  close(y, silu ? affine.map(reference.activations.silu) : affine, `group_norm ${what}`, 1e-5);
  close(fmean, mean, `group_norm mean ${what}`);
  close(frstd, rstd, `group_norm rstd ${what}`, 1e-5);
  const slope = reference.derivative(reference.activations.silu);
  const d = affine.map((value, i) => dy[i] * (silu ? slope(value) : 1));
  const [dx] = call(engine, 'group_norm_grad_input', [x, w, b, fmean, frstd, dy, out(count)], numbers);
  close(dx, backward(d.map((value, i) => value * w[i % channels])), `group_norm_grad_input ${what}`, 3e-5);
  const [dw, db] = call(engine, 'group_norm_grad_params', [x, w, b, fmean, frstd, dy, out(channels), out(channels)], numbers);
  const columns = (f: (i: number) => number) => w.map((_, c) => { let s = 0; for (let i = c; i < count; i += channels) s += f(i); return s; });
  close(dw, columns((i) => d[i] * normal[i]), `group_norm dweight ${what}`, 1e-5);
  close(db, columns((i) => d[i]), `group_norm dbias ${what}`, 1e-5);
}

const none = new Float32Array(0);
const noIds = new Int32Array(0);
const noBytes = new Uint8Array(0);
const three = Float32Array.of(1, 2, 3);
const six = Float32Array.of(1, 2, 3, 4, 5, 6);

const manyFilters = new Float32Array(9 * 16 * 16);

/** Every kernel with an axis of size 0, and what stands in its outputs: nothing, or the value of an empty sum. */
const emptyCalls: Record<Exclude<KernelName, 'peak'>, [tensors: Argument[], numbers: number[], outputs: number[][]][]> = {
  gemm: [
    [[none, six, out(0), null, null], [1, 0, 0, 0, 0, 2, 3, 3, 2, 2, 0, 0, 0], [[]]],
    [[none, none, out(2), Float32Array.of(7, 8), null], [1, 0, 0, 0, 1, 2, 0, 1, 2, 2, 0, 0, 0], [[7, 8]]],
    [[none, six, out(0), null, null], [0, 0, 0, 0, 2, 2, 3, 3, 2, 2, 0, 0, 0], [[]]],
  ],
  conv: [
    [[none, six, out(0), null, null], [0, 4, 4, 2, 4, 4, 3, 1, 1, 1, 0, 0], [[]]],
    [[none, manyFilters, out(0), null, null], [0, 4, 4, 16, 4, 4, 16, 3, 3, 1, 1, 1], [[]]],
  ],
  conv_grad_filter: [
    [[none, none, out(6)], [0, 4, 4, 2, 4, 4, 3, 1, 1, 1, 0, 0], [[0, 0, 0, 0, 0, 0]]],
    [[none, none, out(manyFilters.length)], [0, 4, 4, 16, 4, 4, 16, 3, 3, 1, 1, 1], [Array.from(manyFilters, () => 0)]],
  ],
  conv_grad_input: [
    [[none, six, out(0), null], [0, 4, 4, 2, 4, 4, 3, 1, 1, 1, 0, 0], [[]]],
    [[none, manyFilters, out(0), null], [0, 4, 4, 16, 4, 4, 16, 3, 3, 1, 1, 1], [[]]],
  ],
  attention: [
    [[none, none, none, null, out(0), out(0)], [0, 3, 3, 1, 1, 2, 0, 1, 0, 0, 3], [[], []]],
    [[none, six, six, null, out(0), out(0)], [1, 0, 3, 1, 1, 2, 0, 1, 0, 0, 3], [[], []]],
    [[three, none, none, null, out(3), out(1)], [1, 1, 0, 1, 1, 3, 0, 1, 0, 0, 0], [[NaN, NaN, NaN], [-Infinity]]],
  ],
  attention_grad: [
    [[none, six, six, null, none, none, none, out(0), out(6), out(6), none], [1, 0, 3, 1, 1, 2, 0, 1, 0, 0, 3], [[], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]],
    [[three, none, none, null, three, Float32Array.of(0), three, out(3), out(0), out(0), new Float32Array(1)], [1, 1, 0, 1, 1, 3, 0, 1, 0, 0, 0], [[0, 0, 0], [], []]],
  ],
  rope: [[[none, none, none, out(0)], [2, 0, 1, 4, 0, 0], [[]]]],
  rms_norm: [[[none, three, out(0), out(0)], [0, 3, 1e-5], [[], []]]],
  rms_norm_grad_input: [[[none, three, none, none, out(0), null], [0, 3], [[]]]],
  rms_norm_grad_weight: [[[none, none, none, out(3)], [0, 3], [[0, 0, 0]]]],
  layer_norm: [[[none, three, three, out(0), out(0), out(0)], [0, 3, 1e-5], [[], [], []]]],
  layer_norm_grad_input: [[[none, three, none, none, none, out(0), null], [0, 3], [[]]]],
  layer_norm_grad_params: [[[none, none, none, none, out(3), out(3)], [0, 3], [[0, 0, 0], [0, 0, 0]]]],
  group_norm: [[[none, three, three, out(0), out(0), out(0)], [0, 4, 3, 1, 1e-5, 1], [[], [], []]]],
  group_norm_grad_input: [[[none, three, three, none, none, none, out(0), null], [0, 4, 3, 1, 0, 1], [[]]]],
  group_norm_grad_params: [[[none, three, three, none, none, none, out(3), out(3)], [0, 4, 3, 1, 0, 1], [[0, 0, 0], [0, 0, 0]]]],
  unary: [[[none, out(0)], [0, 0, 0, 0], [[]]]],
  binary: [[[none, none, out(0)], [0, 0, 1, 0, 1, 1], [[]]], [[none, three, out(0)], [0, 2, 2, 0, 3, 3, 1, 0, 1], [[]]]],
  activation: [[[none, out(0)], [0, 1], [[]]]],
  activation_grad: [[[none, none, out(0)], [0, 1], [[]]]],
  gated: [[[none, none, out(0)], [0, 3, 3, 0, 0, 0], [[]]]],
  gated_grad: [[[none, none, none, out(0), out(0)], [0, 3, 3, 0, 0, 0], [[], []]]],
  select: [[[noBytes, none, none, out(0)], [0], [[]]]],
  sum: [[[none, out(3)], [3, 0, 1, 1], [[0, 0, 0]]], [[none, out(3)], [1, 0, 3, 1], [[0, 0, 0]]], [[none, out(0)], [0, 3, 1, 1], [[]]]],
  sum_of_squares: [[[none, out(1)], [0], [[0]]]],
  max: [[[none, out(0)], [0, 3, 1], [[]]]],
  softmax: [[[none, out(0)], [0, 3], [[]]]],
  move: [[[none, out(0)], [0], [[]]]],
  copy: [[[none, out(0)], [0, 2, 0, 3, 3, 1, 3, 1, 0, 0], [[]]]],
  fill: [[[out(0)], [0, 1, 0], [[]]]],
  gather: [[[six, noIds, out(0)], [0, 3, 2], [[]]]],
  scatter_add: [[[none, noIds, out(6)], [0, 3, 2], [[0, 0, 0, 0, 0, 0]]]],
  upsample: [[[none, out(0)], [0, 2, 2, 3, 4, 4], [[]]]],
  upsample_grad: [[[none, out(0)], [0, 2, 2, 3, 4, 4], [[]]], [[none, out(3)], [1, 1, 1, 3, 0, 0], [[0, 0, 0]]]],
  pool: [[[none, out(0)], [0, 2, 2, 3, 2, 2, 1, 1, 1, 1, 0, 0, 1], [[]]]],
  resize_bilinear: [[[none, out(0)], [0, 2, 2, 3, 4, 4, 0.5, 0.5, 0], [[]]]],
  argmax: [[[none, out(0)], [0, 3], [[]]]],
  cross_entropy: [[[none, noIds, out(0), out(0)], [0, 3], [[], []]]],
  cross_entropy_grad: [[[none, noIds, none, none, out(0)], [0, 3], [[]]]],
  adamw: [[[out(0), none, out(0), out(0)], [0, 0.1, 0.9, 0.99, 1e-8, 1, 0.1, 0.01, 1], [[], [], []]]],
  packed_product: [[[none, noBytes, none, out(0), null], [0, 0, 32, 2, 0], [[]]], [[none, noBytes, none, out(0), null], [1, 0, 0, 0, 0], [[]]]],
  packed_rows: [[[noBytes, none, noIds, out(0)], [0, 4, 32, 2], [[]]]],
  pack: [[[none, noBytes, out(0)], [0, 32, 2], [[]]]],
  decode_layer: [[[none, three, none, none, none, none, three, none, none, none, none, none, out(0), out(0), null, out(0)], [0, 3, 1, 1, 2, 4, 0, 1, 1e-5, 1, 0, 0], [[], [], []]]],
};

const awkward = [0, -0, 1e-30, -1e-30, 0.3, -0.9, 0.95, 3, -7, 20, -50, 88.5, -88, 100, -200, 1e30, Infinity, -Infinity, NaN];

for (const { name, load } of testEngines()) {
  describe(`the kernels of ${name}`, () => {
    let engine: Engine;
    // The native engine's number of threads is the whole process', so each is loaded when its turn comes.
    before(() => {
      engine = load();
    });

    test('multiply matrices of any size, transposed, batched, with bias or onto what is there', () => {
      for (let i = 0; i < 60; i++) checkGemm(engine, size(), size(), size(), stream.choice([1, 1, 2, 9]));
      for (const [m, n, k] of [[1, 1, 1], [0, 3, 2], [3, 0, 2], [3, 2, 0], [1, 700, 130], [5, 33, 300], [150, 40, 600], [40, 600, 70]]) checkGemm(engine, m, n, k, 1);
    });

    test('multiply to float precision, whatever the magnitudes of rows and columns', () => {
      for (const [m, n, k, transposeA, transposeB] of [[40, 70, 530, false, true], [65, 33, 64, true, false], [33, 48, 31, false, false]] as const) {
        // A row and a column of each magnitude, down to products that float cannot hold.
        const [scaleA, scaleB] = [m, n].map((count) => Float32Array.from({ length: count }, () => 2 ** (stream.integer(120) - 60)));
        const a = normals(m * k).map((value, i) => value * scaleA[transposeA ? i % m : Math.floor(i / k)]);
        const b = normals(k * n).map((value, i) => value * scaleB[transposeB ? Math.floor(i / k) : i % n]);
        const numbers = [1, 0, 0, 0, m, n, k, transposeA ? m : k, transposeB ? k : n, n, +transposeA, +transposeB, 0];
        const [found] = call(engine, 'gemm', [a, b, out(m * n), null, null], numbers);
        const sizes = { m, n, k, transposeA, transposeB };
        const expected = reference.gemm(a, b, () => 0, sizes);
        const magnitude = reference.gemm(a.map(Math.abs), b.map(Math.abs), () => 0, sizes);
        for (let i = 0; i < expected.length; i++) {
          const bound = 2 ** -21 * magnitude[i] + k * 2 ** -126;
          if (!(Math.abs(found[i] - expected[i]) <= bound)) assert.fail(`element ${i} of ${m} x ${n} over ${k} is ${found[i]}, expected ${expected[i]} within ${bound}`);
        }
      }
    });

    test('multiply whole numbers exactly', () => {
      const [m, n, k] = [48, 40, 96];
      const [a, b] = [m * k, k * n].map((count) => Float32Array.from({ length: count }, () => stream.integer(401) - 200));
      const [found] = call(engine, 'gemm', [a, b, out(m * n), null, null], [1, 0, 0, 0, m, n, k, k, n, n, 0, 0, 0]);
      assert.deepEqual([...found].map((v) => v + 0), reference.gemm(a, b, () => 0, { m, n, k, transposeA: false, transposeB: false }).map((v) => v + 0));
    });

    test('carry infinity and NaN through products of any size to where they belong, and change nothing else', () => {
      const [m, n, k] = [100, 40, 300];
      const [a, b] = [normals(m * k), normals(k * n)];
      const numbers = [1, 0, 0, 0, m, n, k, k, n, n, 0, 0, 0];
      const product = () => call(engine, 'gemm', [a, b, out(m * n), null, null], numbers)[0];
      const clean = product();
      a[3 * k + 7] = Infinity;
      a[5 * k + 290] = NaN;
      const rows = product();
      close(rows, reference.gemm(a, b, () => 0, { m, n, k, transposeA: false, transposeB: false }), 'infinity and NaN in rows');
      assert.deepEqual(rows.subarray(32 * n), clean.subarray(32 * n), 'rows far from them');
      a[3 * k + 7] = a[5 * k + 290] = 1;
      b[20 * n + 11] = -Infinity;
      b[299 * n + 39] = NaN;
      close(product(), reference.gemm(a, b, () => 0, { m, n, k, transposeA: false, transposeB: false }), 'infinity and NaN in columns');
    });

    for (const [kernel, calls] of Object.entries(emptyCalls)) {
      test(`take an axis of size 0: ${kernel}`, () => {
        for (const [tensors, numbers, expected] of calls) {
          assert.deepEqual(call(engine, kernel as KernelName, tensors, numbers).map((values) => [...values]), expected, JSON.stringify(numbers));
        }
      });
    }

    test('multiply rows of a larger matrix', () => {
      const [a, b] = [normals(20 * 30), normals(8 * 40)];
      const [c] = call(engine, 'gemm', [a.subarray(5), b.subarray(3), out(7 * 9), null], [1, 0, 0, 0, 7, 9, 8, 30, 40, 9, 0, 0, 0]);
      close(c, Array.from({ length: 63 }, (_, e) => Array.from({ length: 8 }, (_, q) => a[5 + Math.floor(e / 9) * 30 + q] * b[3 + q * 40 + (e % 9)]).reduce((x, y) => x + y)), 'strided gemm');
    });

    test('convolve and take both gradients, with any stride and padding', () => {
      for (let i = 0; i < 25; i++) checkConv(engine);
      checkConv(engine, { kh: 1, kw: 1, stride: 1, top: 0, left: 0 });
      checkConv(engine, { images: 0 });
    });

    test('convolve by 3 x 3 filters of many channels in tiles of 4 x 4', () => {
      const tiled = { kh: 3, kw: 3, stride: 1 };
      for (let i = 0; i < 25; i++) checkConv(engine, { ...tiled, inputs: stream.choice([16, 17, 31, 32, 48]), outputs: stream.choice([16, 19, 33, 64, 70]), height: upTo(14), width: upTo(14) });
      checkConv(engine, { ...tiled, images: 2, height: 20, width: 18, inputs: 20, outputs: 33, top: 1, left: 1 });
      // Groups of tiles whose sums are added up; filters that each chunk transforms for itself; slices of both kinds of channels; more than the tiles take.
      checkConv(engine, { ...tiled, images: 5, height: 31, width: 32, inputs: 16, outputs: 17, top: 1, left: 1 });
      checkConv(engine, { ...tiled, images: 2, height: 8, width: 8, inputs: 128, outputs: 130, top: 1, left: 1 });
      checkConv(engine, { ...tiled, images: 1, height: 5, width: 4, inputs: 70, outputs: 300, top: 2, left: 0 });
      checkConv(engine, { ...tiled, images: 1, height: 2, width: 2, inputs: 16, outputs: 1025, top: 1, left: 1 });
      checkConv(engine, { ...tiled, images: 1, height: 3, width: 3, inputs: 380, outputs: 380, top: 1, left: 1 });
    });

    test('attend and take gradients: shared heads, bias, causal, one block of keys or several', () => {
      for (let i = 0; i < 25; i++) checkAttention(engine);
      checkAttention(engine, { batch: 1, tokens: 70, keys: 530, heads: 2, kvHeads: 1, dim: 8, biasBatch: 1, biasRows: 1 });
      checkAttention(engine, { batch: 2, tokens: 300, keys: 300, heads: 1, kvHeads: 1, dim: 5, causal: true, biasBatch: 1, biasRows: 300 });
      checkAttention(engine, { batch: 0, biasBatch: 1 });
      for (const lengths of [[5], [1, 140, 3, 17], [300, 2], [4, 4, 4]]) checkSequences(engine, lengths);
    });

    test('give a hidden block of keys no weight, and a row without keys NaN', () => {
      const [q, k] = [normals(3 * 4), normals(600 * 4)];
      const v = normals(600 * 4);
      const bias = new Float32Array(3 * 600).fill(-Infinity);
      bias[300] = 0; // the first query sees key 300 alone, the second key 2, the third none
      bias[600 + 2] = 0;
      const [y] = call(engine, 'attention', [q, k, v, bias, out(12), out(3)], [1, 3, 600, 1, 1, 4, 0, 1, 0, 600, 600]);
      close(y, [...v.subarray(1200, 1204), ...v.subarray(8, 12), NaN, NaN, NaN, NaN], 'masked attention');
    });

    test('decode one token a sequence: shared heads, bias, an empty cache, positions of their own', () => {
      for (let i = 0; i < 12; i++) checkDecode(engine);
      checkDecode(engine, { rows: 1, length: 0, room: 1, biasRow: 0 });
      checkDecode(engine, { rows: 32, dim: 65, inner: 130, headDim: 16, angleRow: 0 });
      checkDecode(engine, { rows: 0 });
      assert.throws(() => checkDecode(engine, { rows: 33 }), /sizes exceed/);
    });

    test('rotate heads, and back', () => {
      for (const [batch, tokens, heads, dim, tables] of [[2, 3, 2, 6, 1], [2, 5, 1, 34, 2], [1, 1, 3, 2, 1]]) {
        const x = normals(batch * tokens * heads * dim);
        const angles = normals(tables * tokens * dim);
        const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)];
        const place = (i: number) => { const row = Math.floor(i / (heads * dim)); return ((tables > 1 ? Math.floor(row / tokens) : 0) * tokens + (row % tokens)) * dim; };
        const expected = [...x].map((value, i) => {
          const c = i % dim;
          const other = c < dim / 2 ? -x[i + dim / 2] : x[i - dim / 2];
          return value * cos[place(i) + c] + other * sin[place(i) + c];
        });
        const numbers = [batch, tokens, heads, dim, tables > 1 ? tokens * dim : 0, 0];
        const [y] = call(engine, 'rope', [x, cos, sin, out(x.length)], numbers);
        close(y, expected, 'rope');
        // The inverse is the transpose: <rope x, z> = <x, rope' z>.
        const z = normals(x.length);
        const [back] = call(engine, 'rope', [z, cos, sin, out(x.length)], [...numbers.slice(0, 5), 1]);
        const inner = (p: Float32Array, q: Float32Array) => p.reduce((sum, value, i) => sum + value * q[i], 0);
        close(Float32Array.of(inner(x, back)), [inner(y, z)], 'inverse rope', 1e-5);
      }
    });

    test('normalise rows and groups, with gradients', () => {
      for (let i = 0; i < 20; i++) checkNorms(engine);
      for (let i = 0; i < 20; i++) checkGroupNorm(engine, upTo(3), size() + 1, upTo(4), upTo(9), flag());
      checkGroupNorm(engine, 2, 1200, 4, 9, true);
    });

    test('map elements as Math does, through NaN and infinity', () => {
      const x = Float32Array.from([...awkward, ...normals(200), ...normals(70).map((value) => value * 20)]);
      const functions: [string, (value: number) => number][] = [
        ['exp', (v) => (v < -87.33 ? 0 : Math.exp(v))], ['log', Math.log], ['sqrt', Math.sqrt], ['rsqrt', (v) => 1 / Math.sqrt(v)], ['square', (v) => v * v], ['neg', (v) => -v],
        ['abs', Math.abs], ['sigmoid', (v) => (Number.isNaN(v) ? v : 1 / (1 + Math.exp(-v)))], ['tanh', Math.tanh], ['relu', (v) => (Number.isNaN(v) ? v : Math.max(v, 0))],
        ['reciprocal', (v) => 1 / v], ['erf', reference.erf],
      ];
      functions.forEach(([label, f], op) => {
        const [y] = call(engine, 'unary', [x, out(x.length)], [x.length, op, 0, 0]);
        x.forEach((value, i) => {
          const expected = Math.fround(f(value));
          const same = Number.isFinite(expected) ? Math.abs(y[i] - expected) <= 4e-7 * Math.abs(expected) + 1e-37 + (label === 'tanh' || label === 'log' ? 1e-7 : 0) : Object.is(y[i], expected);
          if (!same) assert.fail(`${label}(${value}) is ${y[i]}, expected ${expected}`);
        });
      });
    });

    test('apply activations, gated units and their gradients', () => {
      const [rows, dim] = [7, 19];
      const [gate, value, dy] = [normals(rows * dim).map((g) => 2 * g), normals(rows * dim), normals(rows * dim)];
      Object.entries(reference.activations).forEach(([label, f], kind) => {
        const slope = reference.derivative(f);
        const count = gate.length;
        close(call(engine, 'activation', [gate, out(count)], [count, kind])[0], [...gate].map(f), label);
        close(call(engine, 'activation_grad', [gate, dy, out(count)], [count, kind])[0], [...gate].map((g, i) => dy[i] * slope(g)), `${label} gradient`);
        close(call(engine, 'gated', [gate, value, out(count)], [rows, dim, dim, kind, 0, 0])[0], [...gate].map((g, i) => f(g) * value[i]), `gated ${label}`);
        const [dgate, dvalue] = call(engine, 'gated_grad', [gate, value, dy, out(count), out(count)], [rows, dim, dim, kind, 0, 0]);
        close(dgate, [...gate].map((g, i) => dy[i] * value[i] * slope(g)), `gated ${label} gradient`);
        close(dvalue, [...gate].map((g, i) => dy[i] * f(g)), `gated ${label} gradient of the value`);
      });
    });

    test('keep NaN and infinity through activations and sums', () => {
      const x = Float32Array.of(NaN, Infinity, -1000, 1000);
      for (const kind of [0, 1, 2]) assert.deepEqual([...call(engine, 'activation', [x, out(4)], [4, kind])[0]].map((v) => v + 0), [NaN, Infinity, 0, 1000]);
      assert.ok(Number.isNaN(call(engine, 'sum', [Float32Array.of(1, NaN, 2), out(1)], [1, 3, 1, 1])[0][0]));
      assert.ok(Number.isNaN(call(engine, 'max', [Float32Array.of(1, NaN, 2), out(1)], [1, 3, 1])[0][0]));
      assert.ok(call(engine, 'softmax', [Float32Array.of(1, NaN, 2), out(3)], [1, 3])[0].every(Number.isNaN));
      const product = call(engine, 'gemm', [Float32Array.of(NaN, 1), Float32Array.of(0, 1), out(4), null], [1, 0, 0, 0, 2, 2, 1, 1, 2, 2, 0, 0, 0])[0];
      assert.deepEqual([...product], [NaN, NaN, 0, 1]);
    });

    test('reduce leading, inner and trailing axes', () => {
      for (let i = 0; i < 30; i++) {
        const [outer, count, inner] = [size(), size(), stream.choice([1, 1, 5, 33])];
        const x = normals(outer * count * inner);
        const over = (f: (values: number[]) => number) => Array.from({ length: outer * inner }, (_, e) => f(Array.from({ length: count }, (_, r) => x[(Math.floor(e / inner) * count + r) * inner + (e % inner)])));
        close(call(engine, 'sum', [x, out(outer * inner)], [outer, count, inner, 0.5])[0], over((values) => values.reduce((p, q) => p + q) / 2), `sum ${outer} ${count} ${inner}`);
        close(call(engine, 'max', [x, out(outer * inner)], [outer, count, inner])[0], over((values) => Math.max(...values)), 'max', 0);
        const rows = outer * count;
        const expected = [...x].map((value, e) => { const row = [...x.subarray(Math.floor(e / inner) * inner, (Math.floor(e / inner) + 1) * inner)]; return Math.exp(value) / row.reduce((s, v) => s + Math.exp(v), 0); });
        close(call(engine, 'softmax', [x, out(x.length)], [rows, inner])[0], expected, 'softmax');
      }
      const long = normals(200_001);
      close(call(engine, 'sum', [long, out(1)], [1, long.length, 1, 1 / 447])[0], [long.reduce((p, q) => p + q, 0) / 447], 'long sum, in units of its spread', 1e-5);
      close(call(engine, 'sum_of_squares', [long, out(1)], [long.length])[0], [long.reduce((p, q) => p + q * q, 0)], 'sum of squares', 1e-6);
      close(call(engine, 'sum', [new Float32Array(0), out(3)], [3, 0, 1, 1])[0], [0, 0, 0], 'empty sum');
    });

    test('add rows to a table and gather them again', () => {
      const ids = Int32Array.from({ length: 65 }, () => stream.integer(11) - 1);
      const rows = normals(65 * 7);
      const expected = new Array<number>(10 * 7).fill(0);
      ids.forEach((id, r) => { if (id >= 0) for (let c = 0; c < 7; c++) expected[id * 7 + c] += rows[r * 7 + c]; });
      close(call(engine, 'scatter_add', [rows, ids, out(70)], [65, 7, 10])[0], expected, 'scatter_add');
      const valid = ids.map((id) => Math.max(0, id));
      close(call(engine, 'gather', [rows, valid, out(65 * 7)], [65, 7, 10])[0], [...valid].flatMap((id) => [...rows.subarray(id * 7, id * 7 + 7)]), 'gather', 0);
      assert.throws(() => call(engine, 'gather', [rows, Int32Array.of(10), out(7)], [1, 7, 10]), /outside of its table/);
    });

    test('enlarge images by any factor, with the gradient', () => {
      for (const [h, w, oh, ow] of [[2, 3, 4, 6], [3, 5, 7, 8], [1, 1, 3, 2], [4, 4, 4, 4], [5, 3, 2, 2]]) {
        const [n, c] = [2, 5];
        const x = normals(n * h * w * c);
        const dy = normals(n * oh * ow * c);
        const from = (e: number) => { const [z, y, col] = [Math.floor(e / (oh * ow * c)), Math.floor(e / (ow * c)) % oh, Math.floor(e / c) % ow]; return ((z * h + Math.floor((y * h) / oh)) * w + Math.floor((col * w) / ow)) * c + (e % c); };
        const dx = new Array<number>(x.length).fill(0);
        dy.forEach((value, e) => (dx[from(e)] += value));
        close(call(engine, 'upsample', [x, out(dy.length)], [n, h, w, c, oh, ow])[0], [...dy].map((_, e) => x[from(e)]), 'upsample', 0);
        close(call(engine, 'upsample_grad', [dy, out(x.length)], [n, h, w, c, oh, ow])[0], dx, 'upsample_grad');
      }
    });

    test('score labels by cross-entropy, ignoring -100, with the gradient', () => {
      for (const [rows, vocab] of [[1, 1], [5, 3], [9, 130]]) {
        const logits = normals(rows * vocab).map((value) => value * 5);
        const labels = Int32Array.from({ length: rows }, (_, r) => (r % 3 === 1 ? -100 : stream.integer(vocab)));
        const dy = normals(rows);
        const row = (r: number) => [...logits.subarray(r * vocab, (r + 1) * vocab)];
        const lse = Array.from(labels, (label, r) => (label === -100 ? 0 : Math.log(row(r).reduce((s, v) => s + Math.exp(v), 0))));
        const [loss, found] = call(engine, 'cross_entropy', [logits, labels, out(rows), out(rows)], [rows, vocab]);
        close(loss, lse.map((value, r) => (labels[r] === -100 ? 0 : value - row(r)[labels[r]])), 'loss');
        close(found, lse, 'logSumExp');
        const expected = lse.flatMap((value, r) => row(r).map((v, c) => (labels[r] === -100 ? 0 : (Math.exp(v - value) - +(c === labels[r])) * dy[r])));
        close(call(engine, 'cross_entropy_grad', [logits, labels, found, dy, out(logits.length)], [rows, vocab])[0], expected, 'dlogits');
      }
      assert.throws(() => call(engine, 'cross_entropy', [normals(3), Int32Array.of(3), out(1), out(1)], [1, 3]), /label lies outside/);
    });

    test('step AdamW in place', () => {
      const [p, g, m, v] = [normals(101), normals(101), normals(101), normals(101).map(Math.abs)];
      const [lr, b1, b2, eps, decay, c1, c2] = [0.01, 0.9, 0.99, 1e-8, 0.999, 1 - 0.9 ** 3, 1 - 0.99 ** 3];
      const [found] = call(engine, 'adamw', [out(p), g, out(m), out(v)], [101, lr, b1, b2, eps, decay, c1, c2, 1]);
      close(found, p.map((value, i) => value * decay - (lr / c1) * (b1 * m[i] + (1 - b1) * g[i]) / (Math.sqrt((b2 * v[i] + (1 - b2) * g[i] ** 2) / c2) + eps)), 'adamw');
    });
  });
}

describe('the engines', () => {
  test('give the same bits with one thread and with two', () => {
    for (const kind of ['native', 'wasm']) {
      const pair = testEngines().filter((one) => one.name.startsWith(kind) && /\d$/.test(one.name));
      if (pair.length < 2) continue;
      const [a, b, x] = [normals(120 * 300), normals(300 * 90), normals(4 * 16 * 16 * 24)];
      const partly = a.slice();
      partly[50 * 300] = NaN;
      const [filter, manyColumns] = [normals(9 * 24 * 24), normals(9 * 96 * 256)];
      const heads = normals(2 * 80 * 24);
      const sizes: DecodeSizes = { rows: 3, dim: 96, heads: 4, kvHeads: 2, headDim: 24, inner: 300, length: 50, room: 64, eps: 1e-5, scale: 0.2, angleRow: 0, biasRow: 0 };
      const decoded = decodeTensors(sizes, false);
      const results = pair.map(({ load }) => {
        const engine = load();
        const attended = [2, 80, 80, 3, 3, 8, 1, 0.3, 0, 0, 80];
        const [y, lse] = call(engine, 'attention', [heads, heads, heads, null, out(heads.length), out(480)], attended);
        return [
          call(engine, 'gemm', [a, b, out(120 * 90), null], [1, 0, 0, 0, 120, 90, 300, 300, 90, 90, 0, 0, 0]),
          call(engine, 'gemm', [partly, b, out(120 * 90), null], [1, 0, 0, 0, 120, 90, 300, 300, 90, 90, 0, 0, 0]),
          call(engine, 'conv', [x, filter, out(x.length), null, null], [4, 16, 16, 24, 16, 16, 24, 3, 3, 1, 1, 1]),
          call(engine, 'conv', [x, manyColumns, out(4 * 8 * 8 * 256), null, null], [4, 8, 8, 96, 8, 8, 256, 3, 3, 1, 1, 1]),
          call(engine, 'conv_grad_filter', [x, x, out(9 * 24 * 24)], [4, 16, 16, 24, 16, 16, 24, 3, 3, 1, 1, 1]),
          call(engine, 'conv_grad_filter', [x, x, out(9 * 24 * 24)], [4, 16, 16, 24, 14, 14, 24, 3, 3, 1, 0, 0]),
          call(engine, 'group_norm', [x, a, b, out(x.length), out(16), out(16)], [4, 256, 24, 4, 1e-5, 1]),
          call(engine, 'sum', [a, out(300)], [1, 120, 300, 1]),
          [y, lse],
          decodeCall(engine, decoded, sizes),
          call(engine, 'attention_grad', [heads, heads, heads, null, y, lse, heads, out(heads.length), out(heads.length), out(heads.length), new Float32Array(480)], attended),
        ];
      });
      assert.deepEqual(results[1], results[0]);
    }
  });
});
