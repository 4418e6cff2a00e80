import * as tf from '@tensorflow/tfjs';
import type { ClipTextConfig } from '../../models/clip/index.js';
import type { NanoTokenizer } from '../../text/nano.js';

/**
 * Token ids as the nano text tower reads them: `<s> text </s>`, filled up with `</s>` to its context as the original CLIP fills up with its end
 * token, a long text cut. -> int32 [texts, maxPositions]
 */
export function clipTextTokens(texts: readonly string[], tokenizer: NanoTokenizer, { maxPositions }: ClipTextConfig): tf.Tensor2D {
  const [begin, end] = [tokenizer.id('<s>'), tokenizer.id('</s>')];
  const ids = new Int32Array(texts.length * maxPositions).fill(end);
  texts.forEach((text, i) => ids.set([begin, ...tokenizer.encode(` ${text}`).slice(0, maxPositions - 2)], i * maxPositions));
  return tf.tensor2d(ids, [texts.length, maxPositions], 'int32');
}
