import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { modelBackends } from '../../core/engine/test-backends.js';
import { initialize } from '../../core/params.js';
import { random } from '../../core/random.js';
import { beamSearch, drawToken, embedTokens, greedy, llama, llamaDecoder, llamaSpec, padLeft, sample, type Decoder, type LlamaConfig, type Prompt } from './index.js';

const tiny: LlamaConfig = {
  vocabSize: 6, hiddenSize: 8, intermediateSize: 12, numLayers: 2, numHeads: 2, numKvHeads: 1, maxPositions: 32, normEps: 1e-5, ropeTheta: 10000, ropeScaling: 1,
};
const params = initialize(llamaSpec(tiny), 0);
for (const variable of [params.lm_head.weight, params.model.embed_tokens.weight]) variable.assign(tf.tidy(() => variable.mul<tf.Tensor2D>(60))); // decided opinions

async function with_<T>(prompt: Prompt, use: (decoder: Decoder) => Promise<T>, mask?: number[][]): Promise<T> {
  const decoder = llamaDecoder(params, tiny, prompt, mask);
  try {
    return await use(decoder);
  } finally {
    decoder.dispose();
  }
}

/** log p(next | tokens) for every next token. */
const logProbabilities = (tokens: number[]) =>
  tf.tidy(() => tf.logSoftmax(llama(params, tf.tensor2d([tokens], undefined, 'int32'), tiny).slice([0, tokens.length - 1, 0], [1, 1, -1]).flatten()).dataSync().slice());

const mostLikely = (tokens: number[]) => {
  const p = logProbabilities(tokens);
  return p.indexOf(Math.max(...p));
};

for (const { name: backend, use } of modelBackends()) {
  describe(`greedy on ${backend}`, () => {
    before(use);

    test('lets timers run between tokens, so that one of them can stop it', async () => {
      const controller = new AbortController();
      const timer = setTimeout(() => controller.abort(new Error('enough')), 20);
      const endless = with_({ ids: [[1]] }, (decoder) => greedy(decoder, { maxNewTokens: 1e6, signal: controller.signal }));
      await assert.rejects(endless, /enough/);
      clearTimeout(timer);
    });

    test('continues as running the whole sequence again would', async () => {
      const prompt = [1, 2, 3];
      const [made] = await with_({ ids: [prompt] }, (decoder) => greedy(decoder, { maxNewTokens: 6 }));
      const expected = [...prompt];
      while (expected.length < 9) expected.push(mostLikely(expected));
      assert.deepEqual([...prompt, ...made], expected);
    });

    test('continues a batch padded on the left as each prompt alone', async () => {
      const prompts = [[1, 2], [5, 4, 3, 1, 2], [3, 3, 0]];
      const { ids, mask } = padLeft(prompts, 0);
      const together = await with_({ ids }, (decoder) => greedy(decoder, { maxNewTokens: 5 }), mask);
      for (const [i, prompt] of prompts.entries()) {
        assert.deepEqual([together[i]], await with_({ ids: [prompt] }, (decoder) => greedy(decoder, { maxNewTokens: 5 })));
      }
    });

    test('continues embeddings as their tokens, and leaves them to the caller', async () => {
      const ids = [[1, 2, 3]];
      const embeds = tf.tidy(() => embedTokens(params, tf.tensor2d(ids, undefined, 'int32')));
      const made = await with_({ embeds }, (decoder) => greedy(decoder, { maxNewTokens: 4 }));
      assert.deepEqual(made, await with_({ ids }, (decoder) => greedy(decoder, { maxNewTokens: 4 })));
      embeds.dispose();
    });

    test('ends a sequence with its end token and goes on with the others', async () => {
      const { ids, mask } = padLeft([[1, 2], [5, 4, 3, 1, 2]], 0);
      const free = await with_({ ids }, (decoder) => greedy(decoder, { maxNewTokens: 6 }), mask);
      const end = free[0][1];
      const cut = (tokens: number[]) => (tokens.includes(end) ? tokens.slice(0, tokens.indexOf(end) + 1) : tokens);
      const streamed: number[][] = [[], []];
      const ended = await with_(
        { ids },
        (decoder) => greedy(decoder, { maxNewTokens: 6, eosTokenIds: [end], onTokens: (tokens) => tokens.forEach((token, i) => token >= 0 && streamed[i].push(token)) }),
        mask,
      );
      assert.deepEqual(ended, free.map(cut));
      assert.deepEqual(streamed, ended);
    });

    test('stops when it is told to, and keeps no tensor', async () => {
      const controller = new AbortController();
      const tensors = tf.memory().numTensors;
      const run = with_({ ids: [[1, 2]] }, (decoder) => greedy(decoder, { maxNewTokens: 20, signal: controller.signal, onTokens: () => controller.abort(new Error('enough')) }));
      await assert.rejects(run, /enough/);
      assert.equal(tf.memory().numTensors, tensors);
    });

    test('refuses a mask that is padded on the right', () => {
      assert.throws(() => llamaDecoder(params, tiny, { ids: [[1, 2]] }, [[1, 0]]), /Pad prompts on the left/);
    });
  });
}

describe('sample', () => {
  before(() => tf.setBackend('cpu'));

  test('repeats itself for a seed, differs between seeds, and is greedy in the cold', async () => {
    const draw = (seed: number, temperature = 1) => with_({ ids: [[1, 2]] }, (decoder) => sample(decoder, { maxNewTokens: 12, seed, temperature }));
    assert.deepEqual(await draw(1), await draw(1));
    assert.notDeepEqual(await draw(1, 3), await draw(2, 3));
    assert.deepEqual(await draw(1, 1e-3), await with_({ ids: [[1, 2]] }, (decoder) => greedy(decoder, { maxNewTokens: 12 })));
  });

  test('draws tokens as often as the model says, within the nucleus', () => {
    const logits = Float32Array.from([0.5, 0.3, 0.15, 0.05], Math.log);
    const frequencies = (topP: number, temperature = 1) => {
      const counts = [0, 0, 0, 0];
      const stream = random(0, 'draws');
      for (let i = 0; i < 20000; i++) counts[drawToken(logits, temperature, topP, stream.uniform())]++;
      return counts.map((count) => count / 20000);
    };
    const near = (found: number[], expected: number[]) => expected.forEach((p, i) => assert.ok(Math.abs(found[i] - p) < 0.015, `${found} for ${expected}`));
    near(frequencies(1), [0.5, 0.3, 0.15, 0.05]);
    near(frequencies(0.7), [0.5 / 0.8, 0.3 / 0.8, 0, 0]); // the first two reach 0.7
    near(frequencies(0.1), [1, 0, 0, 0]); // never fewer than one
    const squares = [0.25, 0.09, 0.0225, 0.0025];
    near(frequencies(1, 0.5), squares.map((x) => x / 0.365));
  });
});

for (const { name: backend, use } of modelBackends()) {
  describe(`beamSearch on ${backend}`, () => {
    before(use);
    const prompt = [1, 2];

    /** Every continuation of `length` tokens, or one that ends earlier, with its log-probability. */
    function everything(length: number, end = -1, tokens: number[] = [], sum = 0): { tokens: number[]; sum: number }[] {
      if (tokens.length === length || tokens.at(-1) === end) return [{ tokens, sum }];
      const next = logProbabilities([...prompt, ...tokens]);
      return Array.from(next).flatMap((p, token) => everything(length, end, [...tokens, token], sum + p));
    }

    test('finds the best of all sequences when it has a beam for each', async () => {
      const all = everything(3).sort((a, b) => b.sum - a.sum);
      const [best] = await with_({ ids: [prompt] }, (decoder) => beamSearch(decoder, { numBeams: 36, maxNewTokens: 3 }));
      assert.deepEqual(best.tokens, all[0].tokens);
      assert.ok(Math.abs(best.score - all[0].sum / 3) < 1e-4);
    });

    test('weighs finished against open sequences by the length penalty', async () => {
      const end = 4;
      for (const lengthPenalty of [0, 1, 3]) {
        const normalised = everything(3, end).map(({ tokens, sum }) => ({ tokens, score: sum / tokens.length ** lengthPenalty }));
        const best = normalised.sort((a, b) => b.score - a.score)[0];
        const [found] = await with_({ ids: [prompt] }, (decoder) => beamSearch(decoder, { numBeams: 30, maxNewTokens: 3, eosTokenIds: [end], lengthPenalty, earlyStopping: 'never' }));
        assert.deepEqual(found.tokens, best.tokens, `length penalty ${lengthPenalty}`);
        assert.ok(Math.abs(found.score - best.score) < 1e-4);
      }
    });

    test('is greedy with one beam', async () => {
      const [found] = await with_({ ids: [prompt] }, (decoder) => beamSearch(decoder, { numBeams: 1, maxNewTokens: 5 }));
      assert.deepEqual([found.tokens], await with_({ ids: [prompt] }, (decoder) => greedy(decoder, { maxNewTokens: 5 })));
    });

    test('searches a batch as each prompt alone, and keeps no tensor', async () => {
      const tensors = tf.memory().numTensors;
      const prompts = [[1, 2], [5, 4, 3, 1, 2]];
      const { ids, mask } = padLeft(prompts, 0);
      const options = { numBeams: 3, maxNewTokens: 5, eosTokenIds: [4] };
      const together = await with_({ ids }, (decoder) => beamSearch(decoder, options), mask);
      for (const [i, prompt] of prompts.entries()) {
        const [alone] = await with_({ ids: [prompt] }, (decoder) => beamSearch(decoder, options));
        assert.deepEqual(together[i].tokens, alone.tokens);
      }
      assert.equal(tf.memory().numTensors, tensors);
    });
  });
}
