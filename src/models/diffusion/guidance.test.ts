import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { random } from '../../core/random.js';
import { guide, rescaleGuidance } from './guidance.js';

const tensor = (name: string) => tf.tensor4d(random(0, name).normals(48), [2, 3, 2, 4]);
const largestDifference = (a: tf.Tensor, b: tf.Tensor) => tf.tidy(() => tf.max(tf.abs(tf.sub(a, b))).dataSync()[0]);
const conditional = tensor('conditional');
const unconditional = tensor('unconditional');

describe('guide', () => {
  test('gives the conditional prediction at scale 1 and the unconditional at 0', () => {
    tf.tidy(() => {
      assert.ok(largestDifference(guide(conditional, unconditional, 1), conditional) < 1e-6);
      assert.equal(largestDifference(guide(conditional, unconditional, 0), unconditional), 0);
    });
  });

  test('is linear in the scale', () => {
    tf.tidy(() => {
      const halfway = guide(conditional, unconditional, 2).add(guide(conditional, unconditional, 6)).div(2);
      assert.ok(largestDifference(halfway, guide(conditional, unconditional, 4)) < 1e-5);
    });
  });
});

describe('rescaleGuidance', () => {
  const guided = guide(conditional, unconditional, 7.5);
  const deviations = (t: tf.Tensor4D) => tf.moments(t, [1, 2, 3]).variance.sqrt();

  test('does nothing at 0', () => {
    tf.tidy(() => assert.equal(largestDifference(rescaleGuidance(guided, conditional, 0), guided), 0));
  });

  test('gives each image the deviation of its conditional prediction at 1', () => {
    tf.tidy(() => {
      assert.ok(largestDifference(deviations(guided), deviations(conditional)) > 1);
      assert.ok(largestDifference(deviations(rescaleGuidance(guided, conditional, 1)), deviations(conditional)) < 1e-5);
    });
  });

  test('lies between at a half', () => {
    tf.tidy(() => {
      const middle = guided.add(rescaleGuidance(guided, conditional, 1)).div(2);
      assert.ok(largestDifference(rescaleGuidance(guided, conditional, 0.5), middle) < 1e-5);
    });
  });
});
