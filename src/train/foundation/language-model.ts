import * as tf from '@tensorflow/tfjs';
import { IGNORED } from '../../core/ops/index.js';
import { flatten, initialize } from '../../core/params.js';
import type { ConversationKind } from '../../data/instructions.js';
import type { Template } from '../../dreamllm/conversation.js';
import { llama, llamaSpec, lmLoss, type LlamaConfig } from '../../models/llama/index.js';
import type { NanoTokenizer } from '../../text/nano.js';
import type { Part, PartSettings } from './part.js';
import { foundationText, type TextPiece } from './texts.js';

/** Tokens of a training window: texts one after the other, each begun by `<s>`, answers and texts ended by `</s>`, cut where the window ends. */
const windowTokens = 160;

interface Window {
  ids: number[];
  labels: number[];
}

/** The language model: next-token prediction on the emoji world's English and on WordNet's. Stands for Vicuna. */
export function languageModelPart(config: LlamaConfig, tokenizer: NanoTokenizer, template: Template, settings: PartSettings): Part {
  const { seed, batchSize } = settings;
  const params = initialize(llamaSpec(config), seed, 'foundation.lm');
  const [bos, eos] = [tokenizer.id('<s>'), tokenizer.id('</s>')];

  const append = ({ ids, labels }: Window, pieces: readonly TextPiece[]) => {
    ids.push(bos);
    labels.push(IGNORED);
    for (const { text, learned } of pieces) {
      const tokens = [...tokenizer.encode(text), ...(learned ? [eos] : [])];
      ids.push(...tokens);
      labels.push(...(learned ? tokens : tokens.map(() => IGNORED)));
    }
  };
  const window = (split: 'train' | 'val', path: (string | number)[], only?: ConversationKind): Window => {
    const made: Window = { ids: [], labels: [] };
    for (let part = 0; made.ids.length < windowTokens; part++) append(made, foundationText(split, seed, [...path, part], template, only));
    return { ids: made.ids.slice(0, windowTokens), labels: made.labels.slice(0, windowTokens) };
  };
  const tensors = (rows: readonly Window[]) => {
    const of = (values: number[]) => tf.tensor2d(values, [rows.length, windowTokens], 'int32');
    return { ids: of(rows.flatMap(({ ids }) => ids)), labels: of(rows.flatMap(({ labels }) => labels)) };
  };
  type Inputs = ReturnType<typeof tensors>;
  const loss = ({ ids, labels }: Inputs) => tf.tidy(() => lmLoss(llama(params, ids, config), labels));

  return {
    params,
    task: {
      name: 'lm',
      trainable: flatten(params),
      batch: (step) => ({
        ids: Array.from({ length: batchSize }, (_, i) => `text ${step}.${i}`),
        inputs: tensors(Array.from({ length: batchSize }, (_, i) => window('train', [step, i]))),
      }),
      loss: (inputs) => ({ loss: loss(inputs as Inputs) }),
    },
    async evaluate() {
      let sum = 0;
      const batches = 8;
      for (let batch = 0; batch < batches; batch++) {
        const inputs = tensors(Array.from({ length: 16 }, (_, i) => window('val', [batch, i])));
        const value = loss(inputs);
        sum += (await value.data())[0] / batches;
        tf.dispose([value, inputs]);
      }
      const results: Record<string, number> = { valLoss: sum, valPerplexity: Math.exp(sum) };
      for (const kind of ['choice', 'question', 'draw'] as const) results[`${kind}Accuracy`] = await accuracy(kind);
      return results;
    },
    dispose: () => tf.dispose(params),
  };

  /** Share of the tokens of answers, their ends aside, that are the most likely ones: 32 windows of one kind of validation conversation. */
  async function accuracy(kind: ConversationKind): Promise<number> {
    const windows = Array.from({ length: 32 }, (_, i) => window('val', ['accuracy', kind, i], kind));
    const inputs = tensors(windows);
    const top = tf.tidy(() => llama(params, inputs.ids, config).argMax(2));
    const found = await top.data();
    tf.dispose([inputs, top]);
    let [right, count] = [0, 0];
    windows.forEach(({ labels }, row) => {
      for (let i = 1; i < windowTokens; i++) {
        if (labels[i] === IGNORED || labels[i] === eos) continue;
        count++;
        if (found[row * windowTokens + i - 1] === labels[i]) right++;
      }
    });
    return right / count;
  }
}
