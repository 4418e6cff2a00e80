/** The kernels once more, in double precision and as plainly as possible, for tests. Arrays are dense; names are those of native/*.h. */
export type Numbers = ArrayLike<number>;

const make = (count: number, value: (i: number) => number): number[] => Array.from({ length: count }, (_, i) => value(i));
const sum = (count: number, value: (i: number) => number): number => {
  let total = 0;
  for (let i = 0; i < count; i++) total += value(i);
  return total;
};

/** The error function by a series of positive terms, so that nothing cancels. */
export function erf(x: number): number {
  if (Number.isNaN(x)) return x;
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let total = x;
  for (let n = 1; n < 200; n++) total += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

export const activations = {
  silu: (x: number) => x * sigmoid(x),
  gelu: (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  quickGelu: (x: number) => x * sigmoid(1.702 * x),
};

/** Central difference; good to about 1e-9 in double precision. */
export const derivative = (f: (x: number) => number) => (x: number) => (f(x + 1e-5) - f(x - 1e-5)) / 2e-5;

export interface GemmSizes {
  m: number;
  n: number;
  k: number;
  transposeA: boolean;
  transposeB: boolean;
}

export function gemm(a: Numbers, b: Numbers, start: (i: number, j: number) => number, { m, n, k, transposeA, transposeB }: GemmSizes): number[] {
  const at = (i: number, q: number) => a[transposeA ? q * m + i : i * k + q];
  const bt = (q: number, j: number) => b[transposeB ? j * k + q : q * n + j];
  return make(m * n, (e) => start(Math.floor(e / n), e % n) + sum(k, (q) => at(Math.floor(e / n), q) * bt(q, e % n)));
}

export interface ConvSizes {
  images: number;
  height: number;
  width: number;
  inputs: number;
  outHeight: number;
  outWidth: number;
  outputs: number;
  kh: number;
  kw: number;
  stride: number;
  top: number;
  left: number;
}

/** Calls `visit` with the flat places of x, filter and y of every product in a convolution. */
function convolve(s: ConvSizes, visit: (x: number, filter: number, y: number) => void): void {
  for (let n = 0; n < s.images; n++)
    for (let oy = 0; oy < s.outHeight; oy++)
      for (let ox = 0; ox < s.outWidth; ox++)
        for (let ky = 0; ky < s.kh; ky++)
          for (let kx = 0; kx < s.kw; kx++) {
            const [y, x] = [oy * s.stride + ky - s.top, ox * s.stride + kx - s.left];
            if (y < 0 || y >= s.height || x < 0 || x >= s.width) continue;
            for (let i = 0; i < s.inputs; i++)
              for (let o = 0; o < s.outputs; o++)
                visit(((n * s.height + y) * s.width + x) * s.inputs + i, ((ky * s.kw + kx) * s.inputs + i) * s.outputs + o, ((n * s.outHeight + oy) * s.outWidth + ox) * s.outputs + o);
          }
}

export function conv(x: Numbers, filter: Numbers, bias: Numbers | null, s: ConvSizes): number[] {
  const y = make(s.images * s.outHeight * s.outWidth * s.outputs, (i) => (bias ? bias[i % s.outputs] : 0));
  convolve(s, (xi, fi, yi) => (y[yi] += x[xi] * filter[fi]));
  return y;
}

export function convGradInput(dy: Numbers, filter: Numbers, s: ConvSizes): number[] {
  const dx = make(s.images * s.height * s.width * s.inputs, () => 0);
  convolve(s, (xi, fi, yi) => (dx[xi] += dy[yi] * filter[fi]));
  return dx;
}

export function convGradFilter(x: Numbers, dy: Numbers, s: ConvSizes): number[] {
  const dfilter = make(s.kh * s.kw * s.inputs * s.outputs, () => 0);
  convolve(s, (xi, fi, yi) => (dfilter[fi] += dy[yi] * x[xi]));
  return dfilter;
}

export interface AttentionSizes {
  batch: number;
  tokens: number;
  keys: number;
  heads: number;
  kvHeads: number;
  dim: number;
  causal: boolean;
  scale: number;
  /** [biasBatch, biasRows, keys], each 1 or the full size. */
  biasBatch: number;
  biasRows: number;
}

/** y, logSumExp, and for a given dy also dq, dk, dv. */
export function attention(q: Numbers, k: Numbers, v: Numbers, bias: Numbers | null, dy: Numbers, s: AttentionSizes) {
  const { batch, tokens, keys, heads, kvHeads, dim } = s;
  const y = make(batch * tokens * heads * dim, () => 0);
  const lse = make(batch * heads * tokens, () => 0);
  const [dq, dk, dv] = [make(y.length, () => 0), make(batch * keys * kvHeads * dim, () => 0), make(batch * keys * kvHeads * dim, () => 0)];
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < tokens; i++) {
        const kv = Math.floor(h / (heads / kvHeads));
        const at = ((b * tokens + i) * heads + h) * dim;
        const from = (j: number) => ((b * keys + j) * kvHeads + kv) * dim;
        const scores = make(keys, (j) => {
          if (s.causal && j > i + keys - tokens) return -Infinity;
          const added = bias ? bias[((s.biasBatch > 1 ? b : 0) * s.biasRows + (s.biasRows > 1 ? i : 0)) * keys + j] : 0;
          return s.scale * sum(dim, (c) => q[at + c] * k[from(j) + c]) + added;
        });
        const peak = Math.max(...scores);
        const total = sum(keys, (j) => Math.exp(scores[j] - peak));
        const p = scores.map((score) => Math.exp(score - peak) / total);
        lse[(b * heads + h) * tokens + i] = peak + Math.log(total);
        for (let j = 0; j < keys; j++) for (let c = 0; c < dim; c++) y[at + c] += p[j] * v[from(j) + c];
        const dp = make(keys, (j) => sum(dim, (c) => dy[at + c] * v[from(j) + c]));
        const mean = sum(keys, (j) => p[j] * dp[j]);
        for (let j = 0; j < keys; j++) {
          const ds = p[j] * (dp[j] - mean) * s.scale;
          for (let c = 0; c < dim; c++) {
            dq[at + c] += ds * k[from(j) + c];
            dk[from(j) + c] += ds * q[at + c];
            dv[from(j) + c] += p[j] * dy[at + c];
          }
        }
      }
  return { y, lse, dq, dk, dv };
}

/** x seen as [images, positions, groups, width]; mean and rstd for each image and group. `centre` false is RMSNorm. */
export function normalize(x: Numbers, images: number, positions: number, channels: number, groups: number, eps: number, centre: boolean) {
  const width = channels / groups;
  const place = (n: number, p: number, g: number, c: number) => (n * positions + p) * channels + g * width + c;
  const over = (n: number, g: number, f: (i: number) => number) => sum(positions, (p) => sum(width, (c) => f(place(n, p, g, c)))) / (positions * width);
  const mean = make(images * groups, (i) => (centre ? over(Math.floor(i / groups), i % groups, (e) => x[e]) : 0));
  const rstd = make(images * groups, (i) => 1 / Math.sqrt(over(Math.floor(i / groups), i % groups, (e) => (x[e] - mean[i]) ** 2) + eps));
  const of = (e: number) => Math.floor(e / (positions * channels)) * groups + Math.floor((e % channels) / width);
  const normal = make(images * positions * channels, (e) => (x[e] - mean[of(e)]) * rstd[of(e)]);
  /** The gradient at x for one at the normalised values. */
  const backward = (d: Numbers) => {
    const plain = make(images * groups, (i) => (centre ? over(Math.floor(i / groups), i % groups, (e) => d[e]) : 0));
    const along = make(images * groups, (i) => over(Math.floor(i / groups), i % groups, (e) => d[e] * normal[e]));
    return make(normal.length, (e) => rstd[of(e)] * (d[e] - plain[of(e)] - normal[e] * along[of(e)]));
  };
  return { mean, rstd, normal, backward };
}
