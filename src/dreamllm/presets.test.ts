import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { countParameters, specEntries, type Spec } from '../core/params.js';
import { clipSpec } from '../models/clip/index.js';
import { llamaSpec } from '../models/llama/index.js';
import { NanoTokenizer, trainNanoTokenizer } from '../text/nano.js';
import { latentSize, layoutConfig } from './config.js';
import { imageBlockLength, pictureLength } from './layout.js';
import { dreamSpec } from './model.js';
import { dreamllm7b, micro, nano, nanoClip, nanoClipText, preset } from './presets.js';
import { findSpecialTokens } from './special-tokens.js';

describe('dreamllm-7b', () => {
  const spec = dreamSpec(dreamllm7b);
  const { dream_embedding, clip_vision_embedding, ...decoder } = spec.model;

  test('has the published parameter counts', () => {
    const counts: [Spec, number][] = [
      [{ model: decoder, lm_head: spec.lm_head }, 6_738_481_152],
      [clip_vision_embedding.clip_vision_model, 303_179_776],
      [clip_vision_embedding.projector, 4_198_400],
      [dream_embedding, 262_144],
      [spec.stable_diffusion_head.unet, 865_910_724],
      [spec.stable_diffusion_head.vae, 83_653_863],
      [spec.stable_diffusion_head.projector, 4_194_304],
    ];
    for (const [part, count] of counts) assert.equal(countParameters(part), count);
    assert.equal(countParameters(spec), counts.reduce((sum, [, count]) => sum + count, 0));
  });

  test('trains the published numbers of parameters in each stage', () => {
    const [projector, queries, condition] = [clip_vision_embedding.projector, dream_embedding, spec.stable_diffusion_head.projector].map(countParameters);
    const language = countParameters({ model: decoder, lm_head: spec.lm_head });
    assert.deepEqual([projector, queries + condition, projector + queries + condition + language], [4_198_400, 4_456_448, 6_747_136_000]);
  });

  test('names and shapes its parameters as the released files do', () => {
    const shapes = new Map([...specEntries(spec)].map(([key, { shape }]) => [key, shape]));
    const clip = 'model.clip_vision_embedding.clip_vision_model.vision_model';
    const expected: Record<string, number[]> = {
      'model.embed_tokens.weight': [32008, 4096],
      'lm_head.weight': [32008, 4096],
      'model.norm.weight': [4096],
      'model.dream_embedding.dream_queries': [1, 64, 4096],
      [`${clip}.embeddings.class_embedding`]: [1024],
      [`${clip}.embeddings.patch_embedding.weight`]: [14, 14, 3, 1024],
      [`${clip}.embeddings.position_embedding.weight`]: [257, 1024],
      [`${clip}.pre_layrnorm.weight`]: [1024],
      [`${clip}.post_layernorm.bias`]: [1024],
      'model.clip_vision_embedding.projector.projector.weight': [4096, 1024],
      'model.clip_vision_embedding.projector.projector.bias': [4096],
      'stable_diffusion_head.projector.projector.weight': [1024, 4096],
      'stable_diffusion_head.vae.quant_conv.weight': [1, 1, 8, 8],
      'stable_diffusion_head.unet.conv_in.weight': [3, 3, 4, 320],
    };
    for (let i = 0; i < 32; i++) {
      for (const name of ['q', 'k', 'v', 'o']) expected[`model.layers.${i}.self_attn.${name}_proj.weight`] = [4096, 4096];
      for (const name of ['gate', 'up']) expected[`model.layers.${i}.mlp.${name}_proj.weight`] = [11008, 4096];
      expected[`model.layers.${i}.mlp.down_proj.weight`] = [4096, 11008];
      for (const name of ['input', 'post_attention']) expected[`model.layers.${i}.${name}_layernorm.weight`] = [4096];
    }
    for (let i = 0; i < 24; i++) {
      const layer = `${clip}.encoder.layers.${i}`;
      for (const name of ['layer_norm1', 'self_attn.q_proj', 'self_attn.out_proj', 'layer_norm2', 'mlp.fc1', 'mlp.fc2']) {
        for (const part of ['weight', 'bias']) assert.ok(shapes.has(`${layer}.${name}.${part}`), `${layer}.${name}.${part}`);
      }
    }
    for (const [key, shape] of Object.entries(expected)) assert.deepEqual(shapes.get(key), shape, key);
    const language = [...shapes.keys()].filter((key) => /^(model\.(embed_tokens|layers|norm)|lm_head)/.test(key));
    assert.equal(language.length, 3 + 32 * 9);
  });

  test('draws 64×64 latents of 512×512 pictures and reads 256 patches', () => {
    assert.equal(latentSize(dreamllm7b), 64);
    assert.equal(imageBlockLength(layoutConfig(dreamllm7b)), 258);
    assert.equal(pictureLength(layoutConfig(dreamllm7b)), 324);
  });
});

describe('nano', () => {
  test('numbers its special tokens as its tokenizer does', () => {
    const texts = ['a red apple on the table and another red apple'.repeat(3)];
    const tokenizer: NanoTokenizer = trainNanoTokenizer(texts, 280);
    const declared = { ...nano, language: { ...nano.language, vocabSize: 280 } };
    const ids = findSpecialTokens((text) => tokenizer.specialTokens.get(text), 'the nano tokenizer');
    const offset = nano.language.vocabSize - declared.language.vocabSize;
    assert.deepEqual(Object.values(ids).map((id) => (id > 2 ? id + offset : id)).sort(), Object.values(nano.tokens).sort());
    assert.equal(ids.dreamStart + offset, nano.tokens.dreamStart);
  });

  test('has a foundation of at most 25 MB in float16', () => {
    const { unet, vae } = dreamSpec(nano).stable_diffusion_head;
    const parts: Spec[] = [llamaSpec(nano.language), clipSpec(nanoClip), unet, vae];
    assert.ok(2 * parts.reduce((sum, part) => sum + countParameters(part), 0) <= 25e6);
  });

  test('draws what its U-Net was made for, and keeps room for pictures and words', () => {
    assert.equal(latentSize(nano), 8);
    assert.equal(pictureLength(layoutConfig(nano)), 36);
    assert.equal(nano.unet.crossAttentionDim, nanoClipText.hiddenSize);
  });
});

describe('presets', () => {
  test('are found by name, and a wrong name lists them', () => {
    assert.equal(preset('micro'), micro);
    assert.throws(() => preset('tiny'), /Unknown preset "tiny". There are dreamllm-7b, nano, micro/);
  });
});
