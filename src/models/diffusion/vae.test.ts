import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { useBackend } from '../../core/backend.js';
import { countParameters, initialize, specEntries } from '../../core/params.js';
import { random } from '../../core/random.js';
import * as vae from './vae.js';

await useBackend();

const tiny: vae.VaeConfig = { ...vae.stableDiffusionVae, blockOutChannels: [4, 4, 8], layersPerBlock: 1, normGroups: 2 };
const params = initialize(vae.vaeSpec(tiny), 0);
const images = tf.tensor4d(random(0, 'images').normals(2 * 8 * 12 * 3), [2, 8, 12, 3]);

describe('vaeSpec', () => {
  test('has the parameters of Stable Diffusion 2.1-base', () => {
    const spec = vae.vaeSpec(vae.stableDiffusionVae);
    assert.equal(countParameters(spec), 83_653_863);
    const entries = specEntries(spec);
    assert.equal(entries.size, 248);
    for (const key of ['encoder.mid_block.attentions.0.to_out.0.bias', 'decoder.up_blocks.2.resnets.0.conv_shortcut.weight', 'quant_conv.weight']) {
      assert.ok(entries.has(key), key);
    }
  });

  test('fits files of both ages', () => {
    const keys = [...specEntries(vae.vaeSpec(tiny)).keys()];
    assert.deepEqual(keys.map(vae.currentVaeKey), keys);
    assert.equal(vae.currentVaeKey('encoder.mid_block.attentions.0.query.weight'), 'encoder.mid_block.attentions.0.to_q.weight');
    assert.equal(vae.currentVaeKey('decoder.mid_block.attentions.0.proj_attn.bias'), 'decoder.mid_block.attentions.0.to_out.0.bias');
    assert.equal(vae.currentVaeKey('decoder.mid_block.attentions.0.key.bias'), 'decoder.mid_block.attentions.0.to_k.bias');
    assert.equal(vae.currentVaeKey('decoder.mid_block.attentions.0.value.bias'), 'decoder.mid_block.attentions.0.to_v.bias');
  });
});

describe('the autoencoder', () => {
  test('halves the size at each level but the last, and back', () => {
    const before = tf.memory().numTensors;
    const posterior = vae.encode(params, images, tiny);
    assert.deepEqual([posterior.mean.shape, posterior.logvar.shape], [[2, 2, 3, 4], [2, 2, 3, 4]]);
    const decoded = vae.decode(params, posterior.mean, tiny);
    assert.deepEqual(decoded.shape, images.shape);
    assert.equal(tf.memory().numTensors, before + 3);
    tf.dispose([posterior, decoded]);
  });

  test('draws scaled latents around the mean and decodes them unscaled', () => {
    tf.tidy(() => {
      const posterior = { mean: tf.fill([1, 1, 1, 4], 2) as tf.Tensor4D, logvar: tf.fill([1, 1, 1, 4], Math.log(9)) as tf.Tensor4D };
      const noise = tf.tensor4d([0, 1, -1, 2], [1, 1, 1, 4]);
      const expected = [2, 5, -1, 8].map((x) => x * tiny.scalingFactor);
      vae.drawLatents(posterior, tiny, noise).dataSync().forEach((x, i) => assert.ok(Math.abs(x - expected[i]) < 1e-5));
      assert.ok(Math.abs(vae.drawLatents(posterior, tiny).dataSync()[0] - 2 * tiny.scalingFactor) < 1e-6);
      const [a, b] = [vae.decodeLatents(params, posterior.mean.mul(tiny.scalingFactor), tiny), vae.decode(params, posterior.mean, tiny)];
      assert.ok(tf.max(tf.abs(a.sub(b))).dataSync()[0] < 1e-5);
    });
  });

  test('diverges from N(0, 1) by 0 where it is N(0, 1)', () => {
    tf.tidy(() => {
      const of = (mean: number, variance: number) =>
        vae.divergence({ mean: tf.fill([1, 1, 1, 2], mean), logvar: tf.fill([1, 1, 1, 2], Math.log(variance)) }).dataSync()[0];
      assert.equal(of(0, 1), 0);
      assert.ok(Math.abs(of(3, 1) - 9) < 1e-5); // half the squared mean, twice
      assert.ok(Math.abs(of(0, 4) - (3 - Math.log(4))) < 1e-5);
    });
  });

  test('keeps the logarithm of the variance within [-30, 20]', () => {
    tf.tidy(() => {
      const { logvar } = vae.encode(params, images.mul(0).add(1e30), tiny);
      assert.ok([...logvar.dataSync()].every((x) => x >= -30 && x <= 20));
    });
  });

  test('names what does not fit', () => {
    assert.throws(() => vae.encode(params, tf.zeros([1, 8, 8, 4]), tiny), /images: expected shape \[images, height, width, 3\]/);
    assert.throws(() => vae.decode(params, tf.zeros([1, 2, 2, 3]), tiny), /latents: expected shape/);
  });
});

describe('vaeConfig', () => {
  const file = {
    _class_name: 'AutoencoderKL', act_fn: 'silu', block_out_channels: [128, 256, 512, 512], down_block_types: Array(4).fill('DownEncoderBlock2D'),
    in_channels: 3, latent_channels: 4, layers_per_block: 2, norm_num_groups: 32, out_channels: 3, sample_size: 768,
    up_block_types: Array(4).fill('UpDecoderBlock2D'),
  };

  test('reads the file of Stable Diffusion 2.1-base', () => {
    assert.deepEqual(vae.vaeConfig(file), vae.stableDiffusionVae);
  });

  test('refuses by name what it does not know', () => {
    assert.throws(() => vae.vaeConfig({ ...file, act_fn: 'relu' }), /act_fn is "relu"/);
    assert.throws(() => vae.vaeConfig({ ...file, up_block_types: ['UpDecoderBlock2D'] }), /up_block_types/);
  });
});
