import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { useBackend } from '../../core/backend.js';
import { runFixture } from '../parity.js';
import { Fixture } from './fixture.js';

await useBackend();

async function failures(name: string): Promise<string[]> {
  const { outputs } = await runFixture(new Fixture(`data/fixtures/${name}`));
  assert.ok(outputs.length > 20);
  return outputs.filter(({ ok }) => !ok).map((row) => JSON.stringify(row));
}

describe('parity of Stable Diffusion', () => {
  const fixtures = ['unet_small_signal', 'unet_3level', 'unet_4level', 'vae', 'vae_legacy_keys', 'vae_small_signal', 'schedulers', 'image_processing'];
  for (const name of fixtures) {
    test(`holds for ${name} on the default backend, and leaves no tensor behind`, async () => {
      const tensors = tf.memory().numTensors;
      assert.deepEqual(await failures(name), []);
      assert.equal(tf.memory().numTensors, tensors);
    });
  }

  for (const name of ['unet_small_signal', 'vae_small_signal', 'schedulers']) {
    test(`holds for ${name} on the plain cpu backend`, async () => {
      const backend = tf.getBackend();
      await tf.setBackend('cpu');
      assert.deepEqual(await failures(name), []);
      await tf.setBackend(backend);
    });
  }
});
