import * as tf from '@tensorflow/tfjs';
import { loadParams } from '../../core/checkpoint.js';
import { flatten } from '../../core/params.js';
import {
  clipAttentionWeights, clipBuffers, clipConfig, clipImageEmbeds, clipLogits, clipPatches, clipScore, clipSpec, clipTextConfig, clipTextEmbeds,
  clipTextHiddenStates, clipTextSpec, clipTextStates, clipVisionConfig, clipVisionSpec, clipVisionStates, contrastiveLoss, poolImage, poolText,
} from '../../models/clip/index.js';
import { compareGradients } from './gradients.js';
import type { Kind } from './kinds.js';

/** `CLIPVisionModel` of transformers. */
export const clipVisionKind: Kind = {
  name: 'clip vision',
  matches: ({ config }) => config.model_type === 'clip_vision_model',
  async run(fixture, report) {
    const config = clipVisionConfig(fixture.config);
    const p = loadParams(clipVisionSpec(config), fixture.path('model.safetensors'), { ignore: clipBuffers });
    const pixels = fixture.input<tf.Tensor4D>('pixel_values').transpose<tf.Tensor4D>([0, 2, 3, 1]);

    const states = clipVisionStates(p, pixels, config);
    for (const [i, state] of states.entries()) await report.compare(`hidden_states.${i}`, state);
    await report.compare('last_hidden_state', states.at(-1)!);
    await report.compare('pooler_output', poolImage(p, states.at(-1)!, config));
    for (const [i, layer] of p.vision_model.encoder.layers.entries()) {
      if (fixture.wants(`attentions.${i}`)) await report.compare(`attentions.${i}`, clipAttentionWeights(layer, states[i], config));
    }
    const patches = clipPatches(p, pixels, config);
    await report.compare('penultimate_patches', patches);

    const weights = tf.range(1, patches.size + 1).sin().reshape(patches.shape);
    const loss = () => clipPatches(p, pixels, config).mul(weights).sum<tf.Scalar>();
    await compareGradients(fixture, report, loss, flatten(p));
    await compareGradients(fixture, report, loss, new Map([['pixel_values', pixels]]), { layout: (gradient) => gradient.transpose([0, 3, 1, 2]) });
    tf.dispose(p as tf.TensorContainer);
  },
};

/** `CLIPTextModel` of transformers. */
export const clipTextKind: Kind = {
  name: 'clip text',
  matches: ({ config }) => config.model_type === 'clip_text_model',
  async run(fixture, report) {
    const config = clipTextConfig(fixture.config);
    const p = loadParams(clipTextSpec(config), fixture.path('model.safetensors'), { ignore: clipBuffers });
    const ids = fixture.input<tf.Tensor2D>('input_ids');
    for (const [i, state] of clipTextHiddenStates(p, ids, config).entries()) await report.compare(`hidden_states.${i}`, state);
    for (const [prefix, mask] of [['', undefined], ['masked.', fixture.input<tf.Tensor2D>('attention_mask')]] as const) {
      const states = clipTextStates(p, ids, config, mask);
      await report.compare(`${prefix}last_hidden_state`, states);
      await report.compare(`${prefix}pooler_output`, poolText(states, ids, config));
    }
    tf.dispose(p as tf.TensorContainer);
  },
};

/** `CLIPModel` of transformers. */
export const clipModelKind: Kind = {
  name: 'clip',
  matches: ({ config }) => config.model_type === 'clip',
  async run(fixture, report) {
    const config = clipConfig(fixture.config);
    const p = loadParams(clipSpec(config), fixture.path('model.safetensors'), { ignore: clipBuffers });
    const ids = fixture.input<tf.Tensor2D>('input_ids');
    const mask = fixture.input<tf.Tensor2D>('attention_mask');
    const pixels = fixture.input<tf.Tensor4D>('pixel_values').transpose<tf.Tensor4D>([0, 2, 3, 1]);

    const images = clipImageEmbeds(p, pixels, config);
    const texts = clipTextEmbeds(p, ids, config, mask);
    const logits = clipLogits(p, images, texts);
    await report.compare('image_embeds', images);
    await report.compare('text_embeds', texts);
    await report.compare('logits_per_image', logits);
    await report.compare('logits_per_text', logits.transpose());
    await report.compare('clip_score', clipScore(images, texts));
    const loss = () => contrastiveLoss(clipLogits(p, clipImageEmbeds(p, pixels, config), clipTextEmbeds(p, ids, config, mask)));
    await compareGradients(fixture, report, loss, flatten(p), { lossName: 'loss' });
    tf.dispose(p as tf.TensorContainer);
  },
};
