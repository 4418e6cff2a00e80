import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { modelBackends } from '../../core/engine/test-backends.js';
import { adamw, valueAndGrads } from '../../core/ops/index.js';
import { countParameters, flatten, initialize, select, specEntries } from '../../core/params.js';
import {
  embedTokens, KvCache, llama, llama7b, llamaConfig, llamaHiddenStates, llamaSpec, llamaStates, lmHead, lmLoss, padLeft, positionsFromMask, type LlamaConfig,
} from './index.js';

const tiny: LlamaConfig = {
  vocabSize: 17, hiddenSize: 16, intermediateSize: 24, numLayers: 2, numHeads: 4, numKvHeads: 2, maxPositions: 32, normEps: 1e-5, ropeTheta: 10000, ropeScaling: 1,
};
const params = initialize(llamaSpec(tiny), 0);
const idsOf = (rows: number[][]) => tf.tensor2d(rows, undefined, 'int32');
const logitsOf = (rows: number[][], config = tiny) => tf.tidy(() => llama(params, idsOf(rows), config).dataSync().slice());
const largest = (a: ArrayLike<number>, b: ArrayLike<number>) => Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i])));

for (const { name: backend, use } of modelBackends()) {
  describe(`llama on ${backend}`, () => {
    before(use);

    test('names parameters as the checkpoint does', () => {
      const keys = [...flatten(params).keys()];
      assert.equal(keys.length, 3 + 2 * 9);
      for (const key of ['model.embed_tokens.weight', 'model.layers.1.self_attn.q_proj.weight', 'model.layers.0.post_attention_layernorm.weight', 'lm_head.weight']) {
        assert.ok(keys.includes(key), key);
      }
    });

    test('has the parameters of Vicuna-7B with eight added tokens', () => {
      assert.equal(countParameters(llamaSpec(llama7b(32008))), 6_738_481_152);
      assert.deepEqual(specEntries(llamaSpec(llama7b(32008))).get('model.layers.31.mlp.down_proj.weight')!.shape, [4096, 11008]);
    });

    test('cannot see the future', () => {
      const vocab = tiny.vocabSize;
      assert.deepEqual(logitsOf([[1, 2, 9]]).slice(0, 2 * vocab), logitsOf([[1, 2, 3]]).slice(0, 2 * vocab));
      assert.ok(largest(logitsOf([[9, 2, 3]]).slice(2 * vocab), logitsOf([[1, 2, 3]]).slice(2 * vocab)) > 1e-5, 'but sees the past');
    });

    test('gives the same with a cache, whatever the chunks', () => {
      const ids = [[1, 2, 3, 4, 5, 6, 7], [7, 5, 3, 1, 2, 4, 6]];
      const whole = logitsOf(ids);
      for (const chunks of [[7], [3, 4], [1, 1, 1, 1, 1, 1, 1], [5, 1, 1]]) {
        const found = tf.tidy(() => {
          const cache = new KvCache();
          const parts = chunks.map((size) => llama(params, idsOf(ids.map((row) => row.slice(cache.length, cache.length + size))), tiny, { cache }));
          cache.dispose();
          return tf.concat(parts, 1).dataSync().slice();
        });
        assert.ok(largest(found, whole) < 1e-5, `chunks ${chunks}`);
      }
    });

    test('does not see padding, on either side', () => {
      const vocab = tiny.vocabSize;
      const alone = logitsOf([[1, 2, 3]]);
      const { ids, mask } = padLeft([[1, 2, 3], [5, 6, 7, 8, 9]], 0);
      assert.deepEqual(mask, [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]);
      const left = tf.tidy(() => llama(params, idsOf(ids), tiny, { mask: idsOf(mask), positions: positionsFromMask(mask) }).dataSync().slice());
      assert.ok(largest(left.slice(2 * vocab, 5 * vocab), alone) < 1e-5);
      const right = tf.tidy(() => llama(params, idsOf([[1, 2, 3, 0, 0]]), tiny, { mask: idsOf([[1, 1, 1, 0, 0]]) }).dataSync().slice());
      assert.ok(largest(right.slice(0, 3 * vocab), alone) < 1e-5);
      assert.ok(left.every(Number.isFinite) && right.every(Number.isFinite), 'rows of padding are finite');
    });

    test('moves all positions together without a change (rotary positions are relative)', () => {
      const at = (start: number) => tf.tidy(() => llama(params, idsOf([[1, 2, 3]]), tiny, { positions: [start, start + 1, start + 2] }).dataSync().slice());
      assert.ok(largest(at(0), at(11)) < 1e-5);
    });

    test('interpolates positions by its scaling factor', () => {
      const scaled = logitsOf([[1, 2, 3]], { ...tiny, ropeScaling: 2 });
      const halves = tf.tidy(() => llama(params, idsOf([[1, 2, 3]]), tiny, { positions: [0, 0.5, 1] }).dataSync().slice());
      assert.deepEqual(scaled, halves);
      assert.ok(largest(scaled, logitsOf([[1, 2, 3]])) > 1e-6);
    });

    test('lets a NaN through to its own and every later token', () => {
      const logits = tf.tidy(() => {
        const embeds = embedTokens(params, idsOf([[1, 2, 3]])).bufferSync();
        embeds.set(NaN, 0, 1, 0);
        return lmHead(params, llamaStates(params, embeds.toTensor(), tiny)).dataSync().slice();
      });
      assert.ok(logits.slice(tiny.vocabSize).every(Number.isNaN));
    });

    test('learns one batch by heart, and leaves frozen parameters where they are', () => {
      const model = initialize(llamaSpec(tiny), 1);
      const trained = select(model, ['model.layers', 'lm_head']);
      const frozen = model.model.embed_tokens.weight.dataSync().slice();
      const parameters = [...trained.values()];
      const moments = parameters.map((p) => ({ first: tf.variable(tf.zerosLike(p)), second: tf.variable(tf.zerosLike(p)) }));
      const ids = idsOf([[1, 2, 3, 4, 5, 6], [6, 1, 5, 2, 4, 3]]);
      const losses: number[] = [];
      for (let step = 1; step <= 40; step++) {
        const { value, grads } = valueAndGrads(() => lmLoss(llama(model, ids, tiny), ids), trained);
        adamw(parameters, [...grads.values()], moments, { learningRate: 0.03, beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0, step });
        losses.push(value.dataSync()[0]);
        tf.dispose([value, ...grads.values()]);
      }
      assert.ok(losses[0] > 2 && losses.at(-1)! < 0.3, `from ${losses[0]} to ${losses.at(-1)}`);
      assert.deepEqual(model.model.embed_tokens.weight.dataSync(), frozen);
      tf.dispose([model as unknown as tf.TensorContainer, ...moments.flatMap(({ first, second }) => [first, second])]);
    });

    test('keeps nothing but its output', () => {
      const ids = idsOf([[1, 2, 3]]);
      const tensors = tf.memory().numTensors;
      llama(params, ids, tiny).dispose();
      tf.dispose(llamaHiddenStates(params, tf.tidy(() => embedTokens(params, ids)), tiny).slice(1));
      assert.equal(tf.memory().numTensors, tensors + 2, 'the embeddings made here and their copy');
      const cache = new KvCache();
      llama(params, ids, tiny, { cache }).dispose();
      cache.dispose();
      assert.equal(tf.memory().numTensors, tensors + 2);
    });

    test('names what has a wrong shape', () => {
      assert.throws(() => llamaStates(params, tf.zeros([1, 2, 5]), tiny), /embeds: expected shape \[batch, tokens, 16\], found \[1, 2, 5\]/);
      assert.throws(() => llama(params, idsOf([[1, 2]]), tiny, { mask: idsOf([[1]]) }), /expected a mask \[1, 2\] over 0 cached and 2 new tokens, found \[1,1\]/);
      assert.throws(() => llama(params, idsOf([[1, 2]]), tiny, { positions: [1] }), /expected 2 positions/);
      assert.throws(() => llama(params, idsOf([[1, 17]]), tiny), /expected ids from 0 to 16, found 17/);
    });
  });
}

for (const { name: backend, use } of modelBackends()) {
  describe(`lmLoss on ${backend}`, () => {
    before(use);

    test('judges each token by the next label and leaves out −100', () => {
      const logits = tf.tensor3d([[[0, 0], [0, 100], [5, 5]]]);
      const loss = (labels: number[]) => tf.tidy(() => lmLoss(logits, idsOf([labels])).dataSync()[0]);
      assert.ok(Math.abs(loss([-100, 0, -100]) - Math.log(2)) < 1e-6, 'the first token is judged alone');
      assert.ok(Math.abs(loss([1, -100, 1])) < 1e-6, 'the second is sure and right; the first label judges nothing');
      assert.ok(Math.abs(loss([0, 0, 1]) - Math.log(2) / 2) < 1e-6, 'the mean is over labels that count');
    });

    test('names a label outside of the vocabulary', () => {
      assert.throws(() => lmLoss(tf.zeros([1, 2, 3]), idsOf([[0, 3]])), /expected ids from 0 to 2, found 3/);
    });

    test('is 0 with gradients of 0 where no label counts', () => {
      const logits = tf.tensor3d([[[1, 2], [3, 4]]]);
      const { value, grads } = valueAndGrads(() => lmLoss(logits, idsOf([[0, -100]])), new Map([['logits', logits]]));
      assert.equal(value.dataSync()[0], 0);
      assert.deepEqual(Array.from(grads.get('logits')!.dataSync()), [0, 0, 0, 0]);
    });
  });
}

describe('llamaConfig', () => {
  const file = { model_type: 'llama', vocab_size: 32000, hidden_size: 4096, intermediate_size: 11008, num_hidden_layers: 32, num_attention_heads: 32, rms_norm_eps: 1e-6 };

  test('fills in what files of LLaMA-1 leave out', () => assert.deepEqual(llamaConfig(file), llama7b()));

  test('refuses what it would get wrong', () => {
    assert.throws(() => llamaConfig({ ...file, rope_scaling: { type: 'dynamic', factor: 2 } }), /rope_scaling of type "linear"/);
    assert.throws(() => llamaConfig({ ...file, tie_word_embeddings: true }), /"tie_word_embeddings" is true; supported is false/);
    assert.throws(() => llamaConfig({ ...file, hidden_size: undefined }), /expected a number under "hidden_size"/);
  });
});
