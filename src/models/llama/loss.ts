import * as tf from '@tensorflow/tfjs';
import { crossEntropy, IGNORED } from '../../core/ops/index.js';
import { shapes } from '../../core/shapes.js';

/**
 * Mean cross-entropy of the next token over the labels that count; 0 if none does. The labels stand at their own tokens and are shifted
 * here: the logits at token i are judged by the label at i + 1. −100 is ignored. logits [batch, tokens, vocab], labels int32 [batch, tokens].
 */
export function lmLoss(logits: tf.Tensor3D, labels: tf.Tensor2D): tf.Scalar {
  const { batch, tokens, vocab } = shapes({ logits: [logits, 'batch tokens vocab'], labels: [labels, 'batch tokens'] });
  return tf.tidy(() => {
    // Shifting the labels, not the logits, saves a copy of the larger tensor and its gradient.
    const next = tf.concat([labels.slice([0, 1], [batch, tokens - 1]), tf.fill([batch, 1], IGNORED, 'int32')], 1).flatten();
    const counted = next.notEqual(IGNORED).toFloat().sum().maximum(1);
    return crossEntropy(logits.reshape([batch * tokens, vocab]), next as tf.Tensor1D).sum().div<tf.Scalar>(counted);
  });
}
