import * as tf from '@tensorflow/tfjs';
import { flatten, initialize } from '../../core/params.js';
import type { Axis } from '../../data/types.js';
import { clipImageEmbeds, clipLogits, clipSpec, clipTextEmbeds, contrastiveLoss, type ClipConfig } from '../../models/clip/index.js';
import type { NanoTokenizer } from '../../text/nano.js';
import { clipTextTokens } from './clip-text.js';
import type { Part, PartSettings } from './part.js';
import { clipPixels, distinctExamples, type Example } from './pictures.js';

/** Largest factor on cosines: CLIP clips its temperature there. */
const maxLogitScale = Math.log(100);

/** CLIP: the contrastive objective on captioned pictures. */
export function clipPart(config: ClipConfig, tokenizer: NanoTokenizer, settings: PartSettings): Part {
  const { seed, batchSize } = settings;
  const params = initialize(clipSpec(config), seed, 'foundation.clip');
  const side = config.vision.imageSize;
  const tensors = (examples: readonly Example[]) => ({
    pixels: clipPixels(examples.map(({ picture }) => picture)),
    ids: clipTextTokens(examples.map(({ caption }) => caption), tokenizer, config.text),
  });
  type Inputs = ReturnType<typeof tensors>;
  const embed = ({ pixels, ids }: Inputs) => ({ images: clipImageEmbeds(params, pixels, config), texts: clipTextEmbeds(params, ids, config) });

  return {
    params,
    task: {
      name: 'clip',
      trainable: flatten(params),
      batch(step) {
        const examples = distinctExamples(seed, step * batchSize * 4, batchSize, { split: 'train' }, side);
        return { ids: examples.map(({ id }) => id), inputs: tensors(examples) };
      },
      loss(inputs) {
        const { images, texts } = embed(inputs as Inputs);
        const scale = { logit_scale: params.logit_scale.minimum(maxLogitScale) as unknown as typeof params.logit_scale };
        return { loss: contrastiveLoss(clipLogits(scale, images, texts)) };
      },
    },
    async evaluate() {
      const results: Record<string, number> = {};
      for (const axis of ['cell', 'composition', 'concept'] as const) Object.assign(results, await retrieval(axis));
      return results;
    },
    dispose: () => tf.dispose(params),
  };

  /** Share of 100 held-out pictures whose own caption is the nearest of 100, and of captions whose own picture is. */
  async function retrieval(axis: Axis): Promise<Record<string, number>> {
    const examples = distinctExamples(seed + 1, 0, 100, { split: 'val', axis }, side);
    const inputs = tensors(examples);
    const logits = tf.tidy(() => {
      const { images, texts } = embed(inputs);
      return clipLogits(params, images, texts);
    });
    const hits = tf.tidy(() => {
      const own = tf.range(0, examples.length, 1, 'int32');
      return tf.stack([logits.argMax(1).equal(own).mean(), logits.argMax(0).equal(own).mean()]);
    });
    const [imageToText, textToImage] = await hits.data();
    tf.dispose([inputs, logits, hits]);
    return { [`${axis}ImageToText`]: imageToText, [`${axis}TextToImage`]: textToImage };
  }
}
