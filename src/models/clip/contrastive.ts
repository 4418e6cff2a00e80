import * as tf from '@tensorflow/tfjs';
import { crossEntropy } from '../../core/ops/index.js';
import { constant, normal, param, type Params } from '../../core/params.js';
import { shapes } from '../../core/shapes.js';
import { linear, linearSpec } from '../../nn/index.js';
import type { ClipConfig } from './config.js';
import { clipTextPooled, clipTextSpec } from './text.js';
import { clipImagePooled, clipVisionSpec } from './vision.js';

/** A whole CLIP (Radford et al. 2021) under the names of its published checkpoints. */
export const clipSpec = (config: ClipConfig) => ({
  logit_scale: param<tf.Rank.R0>([], constant(config.logitScale)),
  ...clipTextSpec(config.text),
  ...clipVisionSpec(config.vision),
  visual_projection: linearSpec(config.vision.hiddenSize, config.projectionSize, normal(config.vision.hiddenSize ** -0.5)),
  text_projection: linearSpec(config.text.hiddenSize, config.projectionSize, normal(config.text.hiddenSize ** -0.5)),
});

export type ClipParams = Params<ReturnType<typeof clipSpec>>;

/** Each row divided by its length. */
const normalise = (x: tf.Tensor2D): tf.Tensor2D => x.div(x.square().sum(1, true).sqrt());

/** Unit vectors of images. pixels [images, size, size, 3], normalised -> [images, projection] */
export function clipImageEmbeds(p: ClipParams, pixels: tf.Tensor4D, config: ClipConfig): tf.Tensor2D {
  return tf.tidy(() => projectImages(p, clipImagePooled(p, pixels, config.vision)));
}

/** Unit vectors of pooled images. pooled [images, dim] -> [images, projection] */
export function projectImages(p: Pick<ClipParams, 'visual_projection'>, pooled: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => normalise(linear(p.visual_projection, pooled)));
}

/** Unit vectors of texts. ids int32 [texts, tokens] -> [texts, projection] */
export function clipTextEmbeds(p: ClipParams, ids: tf.Tensor2D, config: ClipConfig, mask?: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => projectTexts(p, clipTextPooled(p, ids, config.text, mask)));
}

/** Unit vectors of pooled texts. pooled [texts, dim] -> [texts, projection] */
export function projectTexts(p: Pick<ClipParams, 'text_projection'>, pooled: tf.Tensor2D): tf.Tensor2D {
  return tf.tidy(() => normalise(linear(p.text_projection, pooled)));
}

/** Scaled cosines. images [images, projection], texts [texts, projection] -> [images, texts] */
export function clipLogits(p: Pick<ClipParams, 'logit_scale'>, images: tf.Tensor2D, texts: tf.Tensor2D): tf.Tensor2D {
  shapes({ images: [images, 'images projection'], texts: [texts, 'texts projection'] });
  return tf.tidy(() => tf.matMul(images, texts, false, true).mul(p.logit_scale.exp()));
}

/** The symmetric contrastive loss; image i belongs to text i. logits [images, images] -> [] */
export function contrastiveLoss(logits: tf.Tensor2D): tf.Scalar {
  const { images } = shapes({ logits: [logits, 'images images'] });
  return tf.tidy(() => {
    const pairs = tf.range(0, images, 1, 'int32');
    return crossEntropy(logits, pairs).mean().add<tf.Scalar>(crossEntropy(logits.transpose(), pairs).mean()).div(2);
  });
}

/** CLIP score of pairs: 100 · max(cosine, 0) (Hessel et al. 2021 without their factor 2.5). Both [pairs, projection], of length 1 -> [pairs] */
export function clipScore(images: tf.Tensor2D, texts: tf.Tensor2D): tf.Tensor1D {
  shapes({ images: [images, 'pairs projection'], texts: [texts, 'pairs projection'] });
  return tf.tidy(() => images.mul(texts).sum<tf.Tensor1D>(1).relu().mul(100));
}
