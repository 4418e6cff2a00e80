import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { modelBackends } from '../../core/engine/test-backends.js';
import { countParameters, flatten, initialize } from '../../core/params.js';
import {
  clipConfig, clipImageEmbeds, clipPatches, clipScore, clipSpec, clipTextConfig, clipTextEmbeds, clipTextStates, clipVisionLarge, clipVisionSpec, clipVisionStates,
  contrastiveLoss, numPatches, poolText, type ClipConfig,
} from './index.js';

const encoder = { hiddenSize: 16, intermediateSize: 24, numLayers: 2, numHeads: 2, normEps: 1e-5, activation: 'quickGelu' as const };
const tiny: ClipConfig = {
  vision: { ...encoder, imageSize: 12, patchSize: 4 },
  text: { ...encoder, vocabSize: 20, maxPositions: 8, endToken: 19 },
  projectionSize: 10,
  logitScale: Math.log(1 / 0.07),
};
const params = initialize(clipSpec(tiny), 0);
const pixels = tf.randomNormal<tf.Rank.R4>([2, 12, 12, 3], 0, 1, 'float32', 3);
const idsOf = (rows: number[][]) => tf.tensor2d(rows, undefined, 'int32');

for (const { name: backend, use } of modelBackends()) {
  describe(`clip on ${backend}`, () => {
    before(use);

    test('has the vision parameters of ViT-L/14 under their published names', () => {
      assert.equal(countParameters(clipVisionSpec(clipVisionLarge)), 303_179_776);
      assert.equal(numPatches(clipVisionLarge), 256);
      const keys = [...flatten(params).keys()];
      for (const key of ['logit_scale', 'vision_model.pre_layrnorm.weight', 'vision_model.embeddings.class_embedding', 'text_model.encoder.layers.1.mlp.fc2.bias', 'text_projection.weight']) {
        assert.ok(keys.includes(key), key);
      }
    });

    test('gives a language model the patches before the last layer, without the class token', () => {
      const states = clipVisionStates(params, pixels, tiny.vision);
      assert.equal(states.length, 3);
      const patches = clipPatches(params, pixels, tiny.vision);
      assert.deepEqual(patches.shape, [2, 9, 16]);
      assert.deepEqual(patches.dataSync(), states[1].slice([0, 1, 0]).dataSync());
    });

    test('sees each image on its own', () => {
      const first = clipPatches(params, pixels.slice([0], [1]), tiny.vision).dataSync();
      clipPatches(params, pixels, tiny.vision).slice([0], [1]).dataSync().forEach((x, i) => assert.ok(Math.abs(x - first[i]) < 1e-5));
    });

    test('reads a text from left to right and pools at its end token', () => {
      const states = (row: number[]) => clipTextStates(params, idsOf([row]), tiny.text);
      const [a, b] = [states([1, 2, 19, 3]), states([1, 2, 19, 7])];
      assert.deepEqual(a.slice([0, 0], [1, 3]).dataSync(), b.slice([0, 0], [1, 3]).dataSync());
      assert.deepEqual(poolText(a, idsOf([[1, 2, 19, 3]]), tiny.text).dataSync(), a.slice([0, 2], [1, 1]).dataSync());
      assert.deepEqual(poolText(a, idsOf([[1, 2, 3, 18]]), { ...tiny.text, endToken: 'highest' }).dataSync(), a.slice([0, 3], [1, 1]).dataSync());
    });

    test('embeds images and texts as unit vectors', () => {
      for (const embeds of [clipImageEmbeds(params, pixels, tiny), clipTextEmbeds(params, idsOf([[1, 19, 0], [2, 3, 19]]), tiny)]) {
        assert.deepEqual(embeds.shape, [2, 10]);
        embeds.square().sum(1).dataSync().forEach((length) => assert.ok(Math.abs(length - 1) < 1e-5));
      }
    });

    test('has no contrastive loss left where every pair is certain, and ln(n) where none is', () => {
      assert.ok(contrastiveLoss(tf.eye(4).mul(50) as tf.Tensor2D).dataSync()[0] < 1e-6);
      assert.ok(Math.abs(contrastiveLoss(tf.zeros([4, 4])).dataSync()[0] - Math.log(4)) < 1e-6);
    });

    test('scores a pair by 100 times its cosine, and never below 0', () => {
      const x = tf.tensor2d([[1, 0], [0.6, 0.8]]);
      assert.deepEqual(Array.from(clipScore(x, tf.tensor2d([[1, 0], [-1, 0]])).dataSync()), [100, 0]);
    });

    test('keeps nothing but its output', () => {
      const ids = idsOf([[1, 19, 0], [2, 3, 19]]);
      const tensors = tf.memory().numTensors;
      tf.dispose([clipImageEmbeds(params, pixels, tiny), clipTextEmbeds(params, ids, tiny), clipPatches(params, pixels, tiny.vision)]);
      assert.equal(tf.memory().numTensors, tensors);
    });

    test('names what has a wrong shape', () => {
      assert.throws(() => clipPatches(params, tf.zeros([1, 3, 12, 12]), tiny.vision), /pixels: expected shape \[images, 12, 12, 3\], found \[1, 3, 12, 12\]/);
      assert.throws(() => clipTextStates(params, idsOf([[1, 2, 3, 4, 5, 6, 7, 8, 9]]), tiny.text), /at most 8 tokens, found 9/);
    });
  });
}

describe('clip configurations', () => {
  test('take the end token 2 of old files for the highest id, and what they leave out for ViT-B/32', () => {
    assert.equal(clipTextConfig({ eos_token_id: 2 }).endToken, 'highest');
    assert.equal(clipTextConfig({}).endToken, 49407);
    assert.equal(clipConfig({ vision_config: {}, text_config: {} }).vision.patchSize, 32);
  });

  test('refuse an activation that is not there', () => assert.throws(() => clipTextConfig({ hidden_act: 'relu6' }), /"hidden_act" is "relu6"/));
});
