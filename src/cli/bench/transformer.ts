import * as tf from '@tensorflow/tfjs';
import { adamw, attention, cacheAppend, crossEntropy, decodeLayer, embedding, gatedSplit, linear, rmsNorm, rope, valueAndGrads, type DecodeWeights, type Moments } from '../../core/ops/index.js';
import { constant, flatten, initialize, normal, param, type Params } from '../../core/params.js';
import { random } from '../../core/random.js';

/** A LLaMA-style language model of fixed sizes with one projection for queries, keys and values and one for gate and value. */
export interface TransformerSizes {
  numLayers: number;
  hiddenSize: number;
  numHeads: number;
  mlpSize: number;
  vocab: number;
}

export const referenceTransformer: TransformerSizes = { numLayers: 4, hiddenSize: 256, numHeads: 4, mlpSize: 704, vocab: 2048 };

export const transformerSpec = ({ numLayers, hiddenSize, mlpSize, vocab }: TransformerSizes) => ({
  embed: param<tf.Rank.R2>([vocab, hiddenSize], normal(0.02)),
  layers: Array.from({ length: numLayers }, () => ({
    norm1: param<tf.Rank.R1>([hiddenSize], constant(1)),
    norm2: param<tf.Rank.R1>([hiddenSize], constant(1)),
    qkv: param<tf.Rank.R2>([3 * hiddenSize, hiddenSize], normal(0.02)),
    o: param<tf.Rank.R2>([hiddenSize, hiddenSize], normal(0.02)),
    gateUp: param<tf.Rank.R2>([2 * mlpSize, hiddenSize], normal(0.02)),
    down: param<tf.Rank.R2>([hiddenSize, mlpSize], normal(0.02)),
  })),
  norm: param<tf.Rank.R1>([hiddenSize], constant(1)),
  head: param<tf.Rank.R2>([vocab, hiddenSize], normal(0.02)),
});
export type TransformerParams = Params<ReturnType<typeof transformerSpec>>;

/** Keys and values of the tokens seen so far, one pair a layer, with room behind them. */
export interface Cache {
  length: number;
  layers: { k: tf.Tensor3D; v: tf.Tensor3D }[];
}

/** tokenIds [batch, tokens] -> logits [batch, tokens, vocab]; with a cache (for one sequence), its keys and values come before. */
export function transformer(p: TransformerParams, tokenIds: tf.Tensor2D, { numHeads }: TransformerSizes, cos: tf.Tensor3D, sin: tf.Tensor3D, cache?: Cache): tf.Tensor3D {
  const cached = (held: Cache, layer: number, q: tf.Tensor3D, k: tf.Tensor3D, v: tf.Tensor3D) => {
    const all = append(held, layer, rope(k, cos, sin, numHeads), v);
    return attention(rope(q, cos, sin, numHeads), all.k, all.v, { numHeads, causal: true, keys: held.length + tokenIds.shape[1] });
  };
  let x = embedding(p.embed, tokenIds) as tf.Tensor3D;
  p.layers.forEach((layer, i) => {
    const qkv = linear(rmsNorm(x, layer.norm1, 1e-6), layer.qkv);
    const [q, k, v] = tf.split<tf.Tensor3D>(qkv, 3, -1);
    const mixed = cache ? cached(cache, i, q, k, v) : attention(q, k, v, { numHeads, causal: true, rope: { cos, sin } });
    x = linear(mixed, layer.o, undefined, x);
    x = linear(gatedSplit(linear(rmsNorm(x, layer.norm2, 1e-6), layer.gateUp), 'silu', 'gate-value'), layer.down, undefined, x);
  });
  if (cache) cache.length += tokenIds.shape[1];
  return linear(rmsNorm(x, p.norm, 1e-6), p.head);
}

function append(cache: Cache, layer: number, k: tf.Tensor3D, v: tf.Tensor3D): { k: tf.Tensor3D; v: tf.Tensor3D } {
  const past = cache.layers[layer] as { k: tf.Tensor3D; v: tf.Tensor3D } | undefined;
  cache.layers[layer] = { k: tf.keep(cacheAppend(past?.k, k, cache.length)), v: tf.keep(cacheAppend(past?.v, v, cache.length)) };
  if (past) tf.dispose(past);
  return cache.layers[layer];
}

/** As `decodeLayer` takes them: the joint projections cut into their parts. */
function decodeWeights(p: TransformerParams): DecodeWeights[] {
  return p.layers.map(({ norm1, norm2, qkv, o, gateUp, down }) => {
    const [[q, k, v], [gate, up]] = [tf.split(qkv, 3, 0), tf.split(gateUp, 2, 0)];
    return { norm1, norm2, q, k, v, o, gate, up, down };
  });
}

/** tokenId [1, 1] -> logits [1, 1, vocab] of the token after it. */
function nextLogits(p: TransformerParams, weights: readonly DecodeWeights[], tokenId: tf.Tensor2D, { numHeads }: TransformerSizes, cos: tf.Tensor3D, sin: tf.Tensor3D, cache: Cache): tf.Tensor3D {
  let x = embedding(p.embed, tokenId) as tf.Tensor3D;
  weights.forEach((layer, i) => {
    const past = cache.layers[i];
    const { y, keys, values } = decodeLayer(x, layer, { keys: past.k, values: past.v, length: cache.length }, { numHeads, numKvHeads: numHeads, eps: 1e-6, rope: { cos, sin } });
    cache.layers[i] = { k: tf.keep(keys), v: tf.keep(values) };
    tf.dispose(past);
    x = y;
  });
  cache.length++;
  return linear(rmsNorm(x, p.norm, 1e-6), p.head);
}

/** cos and sin of positions [from, to), each [1, tokens, headDim]. */
export function rotaryTables(from: number, to: number, headDim: number): [tf.Tensor3D, tf.Tensor3D] {
  const angle = (position: number, i: number) => position * 10000 ** (-(2 * (i % (headDim / 2))) / headDim);
  const table = (f: (x: number) => number) =>
    tf.tensor3d(Float32Array.from({ length: (to - from) * headDim }, (_, i) => f(angle(from + Math.floor(i / headDim), i % headDim))), [1, to - from, headDim]);
  return [table(Math.cos), table(Math.sin)];
}

/** Multiplications and additions of one training step: two a weight and token forwards, twice that backwards, and attention without the causal half. */
export function transformerFlops({ numLayers, hiddenSize, mlpSize, vocab }: TransformerSizes, batch: number, tokens: number): number {
  const weights = numLayers * (4 * hiddenSize ** 2 + 3 * hiddenSize * mlpSize) + hiddenSize * vocab;
  return 6 * weights * batch * tokens + 3 * numLayers * 4 * batch * tokens ** 2 * hiddenSize;
}

export interface Workload {
  /** Multiplications and additions of a step. Default: what its kernels do. */
  flops?: number;
  /** One unit of work; ends when its result is known. */
  step(): void | Promise<void>;
  dispose(): void;
}

/** One training step: loss, gradients, AdamW. */
export function transformerTraining(sizes: TransformerSizes, batch: number, tokens: number): Workload {
  const p = initialize(transformerSpec(sizes), 0);
  const stream = random(0, 'bench', 'tokens');
  const draw = () => Int32Array.from({ length: batch * tokens }, () => stream.integer(sizes.vocab));
  const ids = tf.tensor2d(draw(), [batch, tokens], 'int32');
  const labels = tf.tensor1d(draw(), 'int32');
  const [cos, sin] = rotaryTables(0, tokens, sizes.hiddenSize / sizes.numHeads);
  const train = training(flatten(p), () => crossEntropy(transformer(p, ids, sizes, cos, sin).reshape([batch * tokens, sizes.vocab]), labels).mean());
  return {
    flops: transformerFlops(sizes, batch, tokens),
    step: train.step,
    dispose: () => {
      train.dispose();
      tf.dispose([p as never, ids, labels, cos, sin]);
    },
  };
}

/** Gradients and AdamW around a loss. */
export function training(variables: Map<string, tf.Variable>, loss: () => tf.Scalar): { step(): void; dispose(): void } {
  const parameters = [...variables.values()];
  const zeros = (like: tf.Tensor) => tf.tidy(() => tf.variable(tf.zerosLike(like), false));
  const moments: Moments[] = parameters.map((parameter) => ({ first: zeros(parameter), second: zeros(parameter) }));
  let count = 0;
  return {
    step() {
      const { value, grads } = valueAndGrads(loss, variables);
      adamw(parameters, [...grads.values()], moments, { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, step: ++count });
      value.dataSync();
      tf.dispose([value, ...grads.values()]);
    },
    dispose: () => tf.dispose(moments as never),
  };
}

/** Greedy decoding of `steps` tokens after a prompt, with a cache. `flops` counts the decoding alone. */
export function decoding(sizes: TransformerSizes, prompt: number, steps: number): Workload {
  const p = initialize(transformerSpec(sizes), 0);
  const headDim = sizes.hiddenSize / sizes.numHeads;
  const tables = Array.from({ length: prompt + steps }, (_, at) => rotaryTables(at, at + 1, headDim));
  const promptTables = rotaryTables(0, prompt, headDim);
  const weights = decodeWeights(p);
  return {
    flops: steps * transformerFlops(sizes, 1, 1) / 3,
    step() {
      const cache: Cache = { length: 0, layers: [] };
      let ids = tf.zeros([1, prompt], 'int32') as tf.Tensor2D;
      for (let i = 0; i < steps; i++) {
        const [cos, sin] = i === 0 ? promptTables : tables[cache.length];
        const next = tf.tidy(() => {
          const logits = i === 0 ? transformer(p, ids, sizes, cos, sin, cache) : nextLogits(p, weights, ids, sizes, cos, sin, cache);
          return logits.slice([0, logits.shape[1] - 1, 0], [1, 1, -1]).argMax(-1) as tf.Tensor2D;
        });
        ids.dispose();
        ids = next;
        ids.dataSync();
      }
      ids.dispose();
      tf.dispose(cache.layers as never);
    },
    dispose: () => tf.dispose([p, weights, tables, promptTables] as never),
  };
}
