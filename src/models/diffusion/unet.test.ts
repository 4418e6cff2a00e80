import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { useBackend } from '../../core/backend.js';
import { valueAndGrads } from '../../core/ops/index.js';
import { countParameters, flatten, initialize, specEntries } from '../../core/params.js';
import { random } from '../../core/random.js';
import { observe } from './observe.js';
import { timestepSinusoids } from './resnet.js';
import { stableDiffusionUNet, unet, unetConfig, unetSpec, type UNetConfig } from './unet.js';

await useBackend();

const tiny: UNetConfig = {
  ...stableDiffusionUNet,
  blockOutChannels: [8, 8],
  layersPerBlock: 1,
  downBlockTypes: ['CrossAttnDownBlock2D', 'DownBlock2D'],
  upBlockTypes: ['UpBlock2D', 'CrossAttnUpBlock2D'],
  numHeads: [2, 2],
  crossAttentionDim: 6,
  normGroups: 4,
};

const tensor = (name: string, shape: number[]) => tf.tensor(random(0, name).normals(shape.reduce((a, b) => a * b)), shape);
const latents = tensor('latents', [2, 4, 4, 4]) as tf.Tensor4D;
const condition = tensor('condition', [2, 3, 6]) as tf.Tensor3D;
const params = initialize(unetSpec(tiny), 0);
const predict = (x = latents, c = condition, p = params, config = tiny) => unet(p, x, Array(x.shape[0]).fill(7), c, config);

describe('unetSpec', () => {
  test('has the parameters of Stable Diffusion 2.1-base', () => {
    const spec = unetSpec(stableDiffusionUNet);
    assert.equal(countParameters(spec), 865_910_724);
    const entries = specEntries(spec);
    assert.equal(entries.size, 686);
    assert.deepEqual(entries.get('down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight')?.shape, [640, 1024]);
    assert.deepEqual(entries.get('up_blocks.3.resnets.0.conv_shortcut.weight')?.shape, [1, 1, 960, 320]);
    assert.deepEqual(entries.get('mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight')?.shape, [10240, 1280]);
    for (const key of ['down_blocks.2.downsamplers.0.conv.bias', 'up_blocks.0.upsamplers.0.conv.weight', 'up_blocks.1.attentions.2.proj_out.bias']) {
      assert.ok(entries.has(key), key);
    }
    for (const key of ['down_blocks.3.downsamplers.0.conv.bias', 'up_blocks.3.upsamplers.0.conv.weight', 'up_blocks.0.attentions.0.norm.weight']) {
      assert.ok(!entries.has(key), key);
    }
  });
});

describe('timestepSinusoids', () => {
  const patch = (options: { flipSinToCos: boolean; freqShift: number }) =>
    tf.tidy(() => [...timestepSinusoids(Array.from({ length: 128 }, (_, t) => t), 64, options).slice([23, 47], [3, 3]).dataSync()]);
  const close = (actual: number[], expected: number[]) => actual.forEach((x, i) => assert.ok(Math.abs(x - expected[i]) < 1e-3, `${x} ${expected[i]}`));

  test('has the values of the diffusers test suite', () => {
    // tests/models/test_layers_utils.py, rows 23 to 25, columns 47 to 49.
    close(patch({ flipSinToCos: false, freqShift: 1 }), [0.9646, 0.9804, 0.9892, 0.9615, 0.9787, 0.9882, 0.9582, 0.9769, 0.9872]);
    close(patch({ flipSinToCos: true, freqShift: 0 }), [0.3019, 0.228, 0.1716, 0.3146, 0.2377, 0.179, 0.3272, 0.2474, 0.1864]);
  });
});

describe('unet', () => {
  test('answers in the shape of its latents, also where halving does not come out even', () => {
    for (const [height, width] of [[4, 4], [5, 3], [1, 6]]) {
      const x = tensor('odd', [2, height, width, 4]) as tf.Tensor4D;
      const y = predict(x);
      assert.deepEqual(y.shape, x.shape);
      tf.dispose([x, y]);
    }
  });

  test('treats images apart', () => {
    tf.tidy(() => {
      const together = predict().slice([1, 0, 0, 0], [1, -1, -1, -1]);
      const alone = predict(latents.slice([1, 0, 0, 0], [1, -1, -1, -1]), condition.slice([1, 0, 0], [1, -1, -1]));
      assert.ok(tf.max(tf.abs(together.sub(alone))).dataSync()[0] < 1e-5);
    });
  });

  test('depends on the condition and on the time step', () => {
    tf.tidy(() => {
      const differs = (a: tf.Tensor, b: tf.Tensor) => tf.max(tf.abs(a.sub(b))).dataSync()[0] > 1e-3;
      assert.ok(differs(predict(), predict(latents, condition.mul(-1))));
      assert.ok(differs(predict(), unet(params, latents, [7, 900], condition, tiny)));
    });
  });

  test('has gradients to its inputs and to every parameter', () => {
    const inputs = new Map<string, tf.Tensor>([['latents', latents], ['condition', condition], ...flatten(params)]);
    const before = tf.memory().numTensors;
    const { value, grads } = valueAndGrads(() => predict().square().mean(), inputs);
    for (const [key, grad] of grads) assert.ok(tf.tidy(() => tf.max(tf.abs(grad)).dataSync()[0]) > 0, key);
    assert.equal(grads.size, inputs.size);
    tf.dispose([value, ...grads.values()]);
    assert.equal(tf.memory().numTensors, before);
  });

  test('overfits one batch', async () => {
    const trained = initialize(unetSpec(tiny), 1);
    const target = tensor('target', [2, 4, 4, 4]);
    const optimizer = tf.train.adam(0.02);
    const variables = [...flatten(trained).values()];
    const losses: number[] = [];
    for (let step = 0; step < 40; step++) {
      const loss = optimizer.minimize(() => predict(latents, condition, trained).sub(target).square().mean(), true, variables)!;
      losses.push((await loss.data())[0]);
      loss.dispose();
    }
    assert.ok(losses[39] < losses[0] / 20, `from ${losses[0]} to ${losses[39]}`);
    optimizer.dispose();
    tf.dispose([trained, target]);
  });

  test('takes projections that are convolutions', () => {
    const config = { ...tiny, linearProjection: false };
    const p = initialize(unetSpec(config), 0);
    assert.deepEqual(p.mid_block.attentions[0].proj_in.weight.shape, [1, 1, 8, 8]);
    const before = tf.memory().numTensors;
    const y = predict(latents, condition, p, config);
    assert.deepEqual(y.shape, latents.shape);
    assert.equal(tf.memory().numTensors, before + 1); // nothing but its output is kept
    tf.dispose([y, p]);
  });

  test('shows its modules and attentions to an observer', () => {
    const modules: string[] = [];
    const attentions: string[] = [];
    const before = tf.memory().numTensors;
    const observer = {
      module: (name: string) => void modules.push(name),
      attention: (name: string, query: tf.Tensor, key: tf.Tensor, numHeads: number) => void attentions.push(`${name} ${query.shape} ${key.shape} ${numHeads}`),
    };
    observe(params, observer, () => predict()).dispose();
    assert.ok(['conv_in', 'down_blocks.0', 'mid_block.resnets.1', 'conv_norm_out', 'conv_out'].every((name) => modules.includes(name)));
    assert.ok(attentions.includes('up_blocks.1.attentions.0.transformer_blocks.0.attn2 2,16,8 2,3,8 2'));
    assert.equal(tf.memory().numTensors, before);
    predict().dispose();
    assert.equal(attentions.length, 8); // four transformers, none seen after `observe` ended
  });

  test('names what does not fit', () => {
    assert.throws(() => predict(tf.zeros([2, 4, 4, 3])), /latents: expected shape \[images, height, width, 4\]/);
    assert.throws(() => predict(latents, tf.zeros([1, 3, 6])), /condition: .*images is 1 here and 2 elsewhere/);
    assert.throws(() => unet(params, latents, [1], condition, tiny), /one time step for each of 2 images, found 1/);
  });
});

describe('unetConfig', () => {
  const file = {
    _class_name: 'UNet2DConditionModel', act_fn: 'silu', attention_head_dim: [5, 10, 20, 20], block_out_channels: [320, 640, 1280, 1280],
    center_input_sample: false, cross_attention_dim: 1024,
    down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'], downsample_padding: 1,
    dual_cross_attention: false, flip_sin_to_cos: true, freq_shift: 0, in_channels: 4, layers_per_block: 2, mid_block_scale_factor: 1, norm_eps: 1e-5,
    norm_num_groups: 32, num_class_embeds: null, only_cross_attention: false, out_channels: 4, sample_size: 64,
    up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'], use_linear_projection: true,
  };

  test('reads the file of Stable Diffusion 2.1-base', () => {
    assert.deepEqual(unetConfig(file), stableDiffusionUNet);
  });

  test('refuses by name what it does not know', () => {
    assert.throws(() => unetConfig({ ...file, class_embed_type: 'timestep' }), /class_embed_type is "timestep"/);
    assert.throws(() => unetConfig({ ...file, down_block_types: ['DownBlock2D'] }), /down_block_types is .*Expected a list of 4/);
    assert.throws(() => unetConfig({ ...file, attention_head_dim: [1, 2] }), /attention_head_dim is \[1,2\]\. Expected a number or a list of 4/);
    assert.throws(() => unetConfig({ ...file, block_out_channels: undefined }), /block_out_channels is undefined/);
  });
});
