import * as tf from '@tensorflow/tfjs';
import { promptSequence } from '../../dreamllm/prompt.js';
import type { LogLikelihood } from '../language.js';
import type { Subject } from './subject.js';

/** A model as a scoring function of the language tasks: the summed log-probability of a continuation's tokens, in one pass, without `</s>`. */
export const logLikelihoodOf = ({ model, tokenizer }: Subject): LogLikelihood => async (prompt, continuation) => {
  const before = promptSequence(prompt, tokenizer, model.config).tokenIds;
  const after = tokenizer.encode(continuation);
  if (after.length === 0) throw new Error(`A continuation needs at least one token, found "${continuation}".`);
  const ids = [...before, ...after];
  const limit = model.config.language.maxPositions;
  if (ids.length > limit) throw new Error(`Prompt and continuation take ${ids.length} positions; the model has ${limit}.`);
  const embeds = tf.tidy(() => model.language.embed(tf.tensor2d([ids], [1, ids.length], 'int32')));
  const states = await model.language.forward(embeds, {});
  const sum = tf.tidy(() => {
    const dim = states.shape[2];
    const rows = states.slice([0, before.length - 1, 0], [1, after.length, dim]).reshape<tf.Tensor2D>([after.length, dim]);
    const chosen = tf.oneHot(tf.tensor1d(after, 'int32'), model.config.language.vocabSize);
    return tf.logSoftmax(model.language.head(rows)).mul(chosen).sum();
  });
  const [value] = await sum.data();
  tf.dispose([embeds, states, sum]);
  return value;
};
