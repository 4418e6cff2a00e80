import * as tf from '@tensorflow/tfjs';
import { defineGradient, defineGradients, defineKernel, run, shapeError, shared } from './kernel.js';

/**
 * Rotary position embedding (Su et al. 2021) in the rotate-half form: `x · cos + [-x₂, x₁] · sin` in every head.
 * x [batch, tokens, heads·headDim], cos and sin [batch or 1, tokens, headDim] -> like x. Nothing is differentiated through cos and sin.
 */
export function rope(x: tf.Tensor3D, cos: tf.Tensor3D, sin: tf.Tensor3D, numHeads: number): tf.Tensor3D {
  const [batch, tokens, dim] = x.shape;
  const fits = (t: tf.Tensor3D) => t.rank === 3 && (t.shape[0] === 1 || t.shape[0] === batch) && t.shape[1] === tokens && t.shape[2] * numHeads === dim;
  if (x.rank !== 3 || !fits(cos) || !fits(sin)) {
    shapeError('rope', `x [batch, tokens, ${numHeads}·headDim], cos and sin [batch or 1, tokens, headDim]`, { x, cos, sin });
  }
  return run('DreamRope', { x, cos, sin }, { numHeads, inverse: false }) as tf.Tensor3D;
}

defineKernel('DreamRope', ({ x, cos, sin }, { numHeads, inverse }) => {
  const [batch, tokens, dim] = x.shape;
  const heads = x.reshape([batch, tokens, numHeads, dim / numHeads]);
  const c = cos.expandDims(2);
  const s = sin.expandDims(2);
  const rotated = inverse ? swapHalves(heads.mul(s), 1) : swapHalves(heads, -1).mul(s);
  return heads.mul(c).add(rotated).reshape(x.shape);
});

/** [x₁, x₂] -> [sign · x₂, -sign · x₁] along the last axis. */
function swapHalves(x: tf.Tensor, sign: 1 | -1): tf.Tensor {
  const [x1, x2] = tf.split(x, 2, -1);
  return tf.concat(sign === 1 ? [x2, x1.neg()] : [x2.neg(), x1], -1);
}

defineGradient('DreamRope', { inputs: ['cos', 'sin'] }, (dy, [cos, sin], { numHeads, inverse }) => ({
  x: () => run('DreamRope', { x: dy, cos, sin }, { numHeads, inverse: !inverse }) as tf.Tensor,
}));

export interface AttentionOptions {
  numHeads: number;
  /** Fewer key and value heads than heads: each serves `numHeads / numKvHeads` neighbouring heads (Ainslie et al. 2023). Default: as many. */
  numKvHeads?: number;
  /** A query sees no key after its own position; the last query sees the last key. */
  causal?: boolean;
  /** [batch or 1, 1, tokens or 1, keys], added to the scores. Finite: use -1e9 to hide a key. Nothing is differentiated through it. */
  bias?: tf.Tensor4D;
  /** Queries and keys are rotated first, as `rope` does with these cos and sin. Not with `keys`. */
  rope?: { cos: tf.Tensor3D; sin: tf.Tensor3D };
  /** Only so many first rows of k and v hold something, for a cache with room (no gradients). Default: all. */
  keys?: number;
  /**
   * The tokens are those of several sequences, one behind the other, each of so many, and each sees itself alone. With a batch of 1, as many keys as tokens,
   * and no bias. Default: one sequence a batch entry.
   */
  lengths?: readonly number[];
}

/**
 * Scaled dot-product attention (Vaswani et al. 2017). q [batch, tokens, heads·headDim], k and v [batch, keys, kvHeads·headDim]
 * -> [batch, tokens, heads·headDim].
 */
export function attention(q: tf.Tensor3D, k: tf.Tensor3D, v: tf.Tensor3D, options: AttentionOptions): tf.Tensor3D {
  const [batch, tokens, dim] = q.shape;
  const rows = k.shape[1];
  const { numHeads, numKvHeads = numHeads, causal = false, bias, keys = rows, rope: angles, lengths } = options;
  const headDim = dim / numHeads;
  const fits = (t: tf.Tensor) => t.rank === 3 && t.shape[0] === batch && t.shape[1] === rows && t.shape[2] === headDim * numKvHeads;
  const oneOr = (size: number, found: number) => found === 1 || found === size;
  if (
    q.rank !== 3 || !Number.isInteger(headDim) || !fits(k) || !fits(v) || numHeads % numKvHeads !== 0 || (causal && tokens > keys) ||
    keys > rows ||
    (bias && (bias.rank !== 4 || !oneOr(batch, bias.shape[0]) || bias.shape[1] !== 1 || !oneOr(tokens, bias.shape[2]) || bias.shape[3] !== keys))
  ) {
    shapeError(
      'attention',
      `q [batch, tokens, ${numHeads}·headDim], k and v [batch, keys, ${numKvHeads}·headDim], bias [batch or 1, 1, tokens or 1, keys]` +
        (causal ? ' and at least as many keys as tokens' : ''),
      { q, k, v, bias },
    );
  }
  if (lengths && (batch !== 1 || bias || keys !== tokens || rows !== tokens || lengths.some((length) => !(length >= 1)) || lengths.reduce((a, b) => a + b, 0) !== tokens)) {
    shapeError('attention', `with lengths [${lengths.join(', ')}]: q, k and v [1, ${lengths.reduce((a, b) => a + b, 0)}, …], no length of 0, and no bias`, { q, k, v, bias });
  }
  const attributes: Attributes = { numHeads, numKvHeads, causal, scale: 1 / Math.sqrt(headDim), keys, ...(lengths ? { lengths } : {}) };
  if (angles) checkAngles(angles, q, k, headDim);
  const [y, ...forGradient] = (angles ? run('DreamRopeAttention', { q, k, v, ...angles, bias }, attributes) : run('DreamAttention', { q, k, v, bias }, attributes)) as tf.Tensor[];
  for (const tensor of forGradient) tensor.dispose();
  return y as tf.Tensor3D;
}

function checkAngles({ cos, sin }: NonNullable<AttentionOptions['rope']>, q: tf.Tensor3D, k: tf.Tensor3D, headDim: number): void {
  const [batch, tokens] = q.shape;
  const fits = (t: tf.Tensor3D) => t.rank === 3 && (t.shape[0] === 1 || t.shape[0] === batch) && t.shape[1] === tokens && t.shape[2] === headDim;
  if (k.shape[1] !== tokens || !fits(cos) || !fits(sin)) shapeError('attention', `as many keys as tokens, cos and sin [batch or 1, tokens, ${headDim}]`, { q, k, cos, sin });
}

/** The probabilities that `attention` mixes values with: [batch, heads, tokens, keys]. For looking at; not fused. */
export function attentionWeights(q: tf.Tensor3D, k: tf.Tensor3D, { numHeads, numKvHeads = numHeads, causal = false, bias }: AttentionOptions): tf.Tensor4D {
  const scale = 1 / Math.sqrt(q.shape[2] / numHeads);
  return tf.tidy(() => tf.softmax(scores(q, k, bias, { numHeads, numKvHeads, causal, scale, keys: k.shape[1] })));
}

type Attributes = Required<Pick<AttentionOptions, 'numHeads' | 'numKvHeads' | 'causal' | 'keys'>> & Pick<AttentionOptions, 'lengths'> & { scale: number };

/**
 * Calls a kernel of one sequence for each of several that lie behind each other, with its stretch of every tensor. The log-sum-exp of several is that of each,
 * [heads, tokens], one behind the other: only the gradient reads it.
 */
function eachSequence(tensors: Record<string, tf.Tensor>, { lengths = [], ...attributes }: Attributes, kernel: (own: never, attributes: Attributes) => tf.Tensor[]): tf.Tensor[][] {
  const { numHeads } = attributes;
  const cut = Object.entries(tensors).map(([name, tensor]) => {
    const parts = name === 'logSumExp' ? tf.split(tensor.flatten(), lengths.map((length) => length * numHeads)) : tf.split(tensor, [...lengths], 1);
    return [name, parts] as const;
  });
  return lengths.map((length, i) => {
    const own = Object.fromEntries(cut.map(([name, parts]) => [name, name === 'logSumExp' ? parts[i].reshape([1, numHeads, length]) : parts[i]]));
    return kernel(own as never, { ...attributes, keys: length });
  });
}

/** The rows of a key or value tensor that hold something. */
const held = (x: tf.Tensor3D, { keys }: Attributes): tf.Tensor3D => (x.shape[1] === keys ? x : x.slice([0, 0, 0], [-1, keys, -1]));

/** [batch, tokens, heads·headDim] -> [batch, kvHeads, (heads / kvHeads)·tokens, headDim]: the heads that share keys lie below each other. */
function splitHeads(x: tf.Tensor3D, numHeads: number, numKvHeads: number): tf.Tensor4D {
  const [batch, tokens, dim] = x.shape;
  const sharing = numHeads / numKvHeads;
  const split = x.reshape([batch, tokens, numKvHeads, sharing, dim / numHeads]).transpose([0, 2, 3, 1, 4]);
  return split.reshape([batch, numKvHeads, sharing * tokens, dim / numHeads]);
}

function joinHeads(x: tf.Tensor4D, tokens: number): tf.Tensor {
  const [batch, numKvHeads, rows, headDim] = x.shape;
  const sharing = rows / tokens;
  const split = x.reshape([batch, numKvHeads, sharing, tokens, headDim]).transpose([0, 3, 1, 2, 4]);
  return split.reshape([batch, tokens, numKvHeads * sharing * headDim]);
}

/** The score of a key in the future. Finite, because shaders may take infinities for whatever they like. */
const HIDDEN = -1e30;

/** The scores with their bias, [batch, heads, tokens, keys]. */
function scores(q: tf.Tensor3D, k: tf.Tensor3D, bias: tf.Tensor4D | undefined, { numHeads, numKvHeads, causal, scale }: Attributes): tf.Tensor4D {
  const [batch, tokens] = q.shape;
  const keys = k.shape[1];
  const products = tf.matMul(splitHeads(q, numHeads, numKvHeads), splitHeads(k, numKvHeads, numKvHeads), false, true);
  let s: tf.Tensor4D = products.mul(scale).reshape([batch, numHeads, tokens, keys]);
  if (bias) s = s.add(bias);
  if (causal) {
    const age = tf.range(keys - tokens, keys).expandDims(1).sub(tf.range(0, keys).expandDims(0)); // [tokens, keys], negative in the future
    s = tf.where(age.greaterEqual(0).expandDims(0).expandDims(0).broadcastTo(s.shape), s, tf.fill(s.shape, HIDDEN));
  }
  return s;
}

defineKernel('DreamAttention', ({ q, k, v, bias }, attributes: Attributes) => {
  if (!attributes.lengths) return attend({ q, k, v, bias }, attributes);
  const each = eachSequence({ q, k, v }, attributes, attend);
  return [tf.concat(each.map(([y]) => y), 1), tf.concat(each.map(([, logSumExp]) => logSumExp.flatten())).reshape([1, attributes.numHeads, q.shape[1]])];
});

function attend({ q, k, v, bias }: { q: tf.Tensor3D; k: tf.Tensor3D; v: tf.Tensor3D; bias?: tf.Tensor4D }, attributes: Attributes): tf.Tensor[] {
  const { numKvHeads } = attributes;
  const tokens = q.shape[1];
  const s = scores(q, held(k, attributes), bias, attributes);
  const logSumExp = s.logSumExp(3);
  const probabilities = s.sub<tf.Tensor4D>(logSumExp.expandDims(3)).exp();
  const mixed: tf.Tensor4D = tf.matMul(byKvHead(probabilities, numKvHeads), splitHeads(held(v, attributes), numKvHeads, numKvHeads));
  return [joinHeads(mixed, tokens), logSumExp];
}

/** [batch, heads, tokens, keys] -> [batch, kvHeads, (heads / kvHeads)·tokens, keys] */
function byKvHead(x: tf.Tensor4D, numKvHeads: number): tf.Tensor4D {
  const [batch, numHeads, tokens, keys] = x.shape;
  return x.reshape([batch, numKvHeads, (numHeads / numKvHeads) * tokens, keys]);
}

defineGradient('DreamAttention', { inputs: 'all', outputs: [true, true] }, (dy, saved, attributes) => {
  const [q, k, v] = saved;
  if (k.shape[1] !== attributes.keys) throw new Error('attention: a cache with room has no gradient. Take gradients of a pass without a cache.');
  const bias = saved.length === 6 ? saved[3] : undefined;
  const [y, logSumExp] = saved.slice(-2);
  return shared(['q', 'k', 'v'], () => run('DreamAttentionGrad', { q, k, v, bias, y, logSumExp, dy }, attributes) as tf.Tensor[]);
});

// With P the probabilities: dV = Pᵀ dY, dP = dY Vᵀ, dS = P ∘ (dP − rowsum(dY ∘ Y)), dQ = scale dS K, dK = scale dSᵀ Q (Dao et al. 2022, B.4).
defineKernel('DreamAttentionGrad', (inputs, attributes: Attributes) => {
  if (!attributes.lengths) return attendGradient(inputs as never, attributes);
  const { bias: _, ...tensors } = inputs;
  const each = eachSequence(tensors as Record<string, tf.Tensor>, attributes, attendGradient);
  return [0, 1, 2].map((i) => tf.concat(each.map((gradients) => gradients[i]), 1));
});

type GradientInputs = Record<'q' | 'k' | 'v' | 'y' | 'logSumExp' | 'dy', tf.Tensor3D> & { bias?: tf.Tensor4D };

function attendGradient({ q, k, v, bias, y, logSumExp, dy }: GradientInputs, attributes: Attributes): tf.Tensor[] {
  const { numHeads, numKvHeads, scale } = attributes;
  const tokens = q.shape[1];
  const keys = k.shape[1];
  const probabilities = scores(q, k, bias, attributes).sub<tf.Tensor4D>(logSumExp.expandDims(3)).exp();
  const p = byKvHead(probabilities, numKvHeads);
  const [qh, yh, dyh] = [q, y, dy].map((t: tf.Tensor3D) => splitHeads(t, numHeads, numKvHeads));
  const [kh, vh] = [k, v].map((t: tf.Tensor3D) => splitHeads(t, numKvHeads, numKvHeads));
  const dp = tf.matMul(dyh, vh, false, true);
  const ds = p.mul<tf.Tensor4D>(dp.sub(dyh.mul(yh).sum(3, true))).mul(scale);
  return [
    joinHeads(tf.matMul(ds, kh), tokens),
    joinHeads(tf.matMul(ds, qh, true, false), keys),
    joinHeads(tf.matMul(p, dyh, true, false), keys),
  ];
}

const rotate = (x: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor, numHeads: number, inverse = false) => run('DreamRope', { x, cos, sin }, { numHeads, inverse }) as tf.Tensor;

// Results after the first: log-sum-exp and the rotated queries and keys.
defineKernel('DreamRopeAttention', ({ q, k, v, cos, sin, bias }, attributes: Attributes) => {
  const [rotatedQ, rotatedK] = [rotate(q, cos, sin, attributes.numHeads), rotate(k, cos, sin, attributes.numKvHeads)];
  return [...(run('DreamAttention', { q: rotatedQ, k: rotatedK, v, bias }, attributes) as tf.Tensor[]), rotatedQ, rotatedK];
});

defineGradients(
  'DreamRopeAttention',
  ({ v, cos, sin, bias }, outputs) => [v, cos, sin, ...outputs, ...(bias ? [bias] : [])],
  ([dy], [v, cos, sin, y, logSumExp, q, k, bias]: tf.Tensor[], attributes) =>
    shared(['q', 'k', 'v'], () => run('DreamRopeAttentionGrad', { q, k, v, bias, y, logSumExp, dy, cos, sin }, attributes) as tf.Tensor[]),
);

defineKernel('DreamRopeAttentionGrad', ({ cos, sin, ...inputs }, attributes: Attributes) => {
  const [dq, dk, dv] = run('DreamAttentionGrad', inputs, attributes) as tf.Tensor[];
  return [rotate(dq, cos, sin, attributes.numHeads, true), rotate(dk, cos, sin, attributes.numKvHeads, true), dv];
});
