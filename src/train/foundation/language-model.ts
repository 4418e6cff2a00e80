import * as tf from '@tensorflow/tfjs';
import { flatten, initialize } from '../../core/params.js';
import type { Template } from '../../dreamllm/conversation.js';
import { llama, llamaSpec, lmLoss, type LlamaConfig } from '../../models/llama/index.js';
import type { NanoTokenizer } from '../../text/nano.js';
import type { Part, PartSettings } from './part.js';
import { foundationText } from './texts.js';

/** Tokens of a training window: texts one after the other, each begun by `<s>` and ended by `</s>`, cut where the window ends. */
const windowTokens = 128;

/** The language model: next-token prediction on the emoji world's English and on WordNet's. Stands for Vicuna. */
export function languageModelPart(config: LlamaConfig, tokenizer: NanoTokenizer, template: Template, settings: PartSettings): Part {
  const { seed, batchSize } = settings;
  const params = initialize(llamaSpec(config), seed, 'foundation.lm');
  const [bos, eos] = [tokenizer.id('<s>'), tokenizer.id('</s>')];

  const window = (split: 'train' | 'val', path: (string | number)[]): number[] => {
    const ids: number[] = [];
    for (let part = 0; ids.length < windowTokens; part++) ids.push(bos, ...tokenizer.encode(foundationText(split, seed, [...path, part], template)), eos);
    return ids.slice(0, windowTokens);
  };
  const windows = (rows: number[][]) => tf.tensor2d(rows.flat(), [rows.length, windowTokens], 'int32');
  const loss = (ids: tf.Tensor2D) => tf.tidy(() => lmLoss(llama(params, ids, config), ids));

  return {
    params,
    task: {
      name: 'lm',
      trainable: flatten(params),
      batch: (step) => ({
        ids: Array.from({ length: batchSize }, (_, i) => `text ${step}.${i}`),
        inputs: { ids: windows(Array.from({ length: batchSize }, (_, i) => window('train', [step, i]))) },
      }),
      loss: (inputs) => ({ loss: loss((inputs as { ids: tf.Tensor2D }).ids) }),
    },
    async evaluate() {
      let sum = 0;
      const batches = 8;
      for (let batch = 0; batch < batches; batch++) {
        const ids = windows(Array.from({ length: 16 }, (_, i) => window('val', [batch, i])));
        const value = loss(ids);
        sum += (await value.data())[0] / batches;
        tf.dispose([ids, value]);
      }
      return { valLoss: sum, valPerplexity: Math.exp(sum) };
    },
    dispose: () => tf.dispose(params),
  };
}
