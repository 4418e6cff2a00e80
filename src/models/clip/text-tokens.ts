import * as tf from '@tensorflow/tfjs';
import type { Tokenizer } from '../../text/tokenizer.js';
import type { ClipTextConfig } from './config.js';

/**
 * Token ids as the nano text tower reads them: `<s> text </s>`, filled up with `</s>` to its context as the original CLIP fills up with its end
 * token, a long text cut. -> int32 [texts, maxPositions]
 */
export function clipTextTokens(texts: readonly string[], tokenizer: Pick<Tokenizer, 'id' | 'encode'>, { maxPositions }: ClipTextConfig): tf.Tensor2D {
  const [begin, end] = [tokenizer.id('<s>'), tokenizer.id('</s>')];
  const ids = new Int32Array(texts.length * maxPositions).fill(end);
  texts.forEach((text, i) => ids.set([begin, ...tokenizer.encode(` ${text}`).slice(0, maxPositions - 2)], i * maxPositions));
  return tf.tensor2d(ids, [texts.length, maxPositions], 'int32');
}
