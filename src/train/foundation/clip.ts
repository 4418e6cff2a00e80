import * as tf from '@tensorflow/tfjs';
import { flatten, initialize } from '../../core/params.js';
import { clipImageEmbeds, clipLogits, clipSpec, clipTextEmbeds, contrastiveLoss, type ClipConfig, type ClipParams } from '../../models/clip/index.js';
import type { NanoTokenizer } from '../../text/nano.js';
import { clipTextTokens } from './clip-text.js';
import type { Part, PartSettings } from './part.js';
import { clipPixels, distinctExamples, type Example } from './pictures.js';

/** Largest factor on cosines: CLIP clips its temperature there. */
export const maxLogitScale = Math.log(100);

/** CLIP: the contrastive objective on captioned pictures. */
export function clipPart(config: ClipConfig, tokenizer: NanoTokenizer, settings: PartSettings): Part {
  const { seed, batchSize } = settings;
  const params = initialize(clipSpec(config), seed, 'foundation.clip');
  const side = config.vision.imageSize;
  type Inputs = ReturnType<typeof tensorsOf>;
  const embed = ({ pixels, ids }: Inputs) => ({ images: clipImageEmbeds(params, pixels, config), texts: clipTextEmbeds(params, ids, config) });

  return {
    params,
    task: {
      name: 'clip',
      trainable: flatten(params),
      batch(step) {
        const examples = distinctExamples(seed, step * batchSize * 4, batchSize, { split: 'train' }, side);
        return { ids: examples.map(({ id }) => id), inputs: tensorsOf(examples, config, tokenizer) };
      },
      loss(inputs) {
        const { images, texts } = embed(inputs as Inputs);
        const scale = { logit_scale: params.logit_scale.minimum(maxLogitScale) as unknown as typeof params.logit_scale };
        return { loss: contrastiveLoss(clipLogits(scale, images, texts)) };
      },
    },
    evaluate: () => retrieval(params, config, tokenizer, seed),
    dispose: () => tf.dispose(params),
  };
}

/** Share of 100 held-out pictures whose own caption is the nearest of 100, and of captions whose own picture is, on each held-out axis. */
export async function retrieval(params: ClipParams, config: ClipConfig, tokenizer: NanoTokenizer, seed: number): Promise<Record<string, number>> {
  const results: Record<string, number> = {};
  for (const axis of ['cell', 'composition', 'concept'] as const) {
    const examples = distinctExamples(seed + 1, 0, 100, { split: 'val', axis }, config.vision.imageSize);
    const hits = tf.tidy(() => {
      const { pixels, ids } = tensorsOf(examples, config, tokenizer);
      const logits = clipLogits(params, clipImageEmbeds(params, pixels, config), clipTextEmbeds(params, ids, config));
      const own = tf.range(0, examples.length, 1, 'int32');
      return tf.stack([logits.argMax(1).equal(own).mean(), logits.argMax(0).equal(own).mean()]);
    });
    [results[`${axis}ImageToText`], results[`${axis}TextToImage`]] = await hits.data();
    hits.dispose();
  }
  return results;
}

const tensorsOf = (examples: readonly Example[], config: ClipConfig, tokenizer: NanoTokenizer) => ({
  pixels: clipPixels(examples.map(({ picture }) => picture)),
  ids: clipTextTokens(examples.map(({ caption }) => caption), tokenizer, config.text),
});
