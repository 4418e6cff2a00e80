import * as tf from '@tensorflow/tfjs';
import type { RgbImage } from '../core/images.js';
import { beamSearch, decoderOf, greedy, sample, type DecoderParts } from '../models/llama/index.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { promptText, type Template } from './conversation.js';
import type { DreamConfig } from './config.js';
import type { DreamModel } from './model.js';
import { embedPrompts, promptSequence, type Prompt } from './prompt.js';

/** Tokens that a text never holds: place-holders and marks whose logits are not trained. */
export const untrainedTokens = ({ tokens }: DreamConfig): number[] => {
  const { unk, bos, pad, image, dream, imStart, imPatch, imEnd, dreamEnd } = tokens;
  return [unk, bos, pad, image, dream, imStart, imPatch, imEnd, dreamEnd];
};

/** A language model that never chooses `tokenIds`. */
export function without(language: DecoderParts, tokenIds: readonly number[]): DecoderParts {
  return {
    ...language,
    head: (states) =>
      tf.tidy(() => {
        const logits = language.head(states);
        const bias = new Float32Array(logits.shape[1]);
        for (const id of tokenIds) bias[id] = -1e9;
        return logits.add(tf.tensor1d(bias));
      }),
  };
}

export interface AnswerOptions {
  /** Default 128. */
  maxNewTokens?: number;
  /** Above 0: draws, with `seed`. Default: the most likely tokens. */
  temperature?: number;
  topP?: number;
  seed?: number;
  /** Above 1: beam search; the paper's evaluation uses 5. */
  beams?: number;
  signal?: AbortSignal;
  /** Told each token as it comes (not by beam search). */
  onText?(text: string): void;
}

/** Continues a prompt with text, up to `</s>`. The model sees the prompt's pictures. */
export async function continueText(model: DreamModel, tokenizer: Tokenizer, prompt: Prompt, options: AnswerOptions = {}): Promise<string> {
  const { maxNewTokens = 128, temperature = 0, topP = 1, seed = 0, beams = 1, signal, onText } = options;
  const { config } = model;
  const { embeds } = embedPrompts(model, [promptSequence(prompt, tokenizer, config)]);
  const decoder = decoderOf(without(model.language, [...untrainedTokens(config), config.tokens.dreamStart]), { embeds });
  const room = config.language.maxPositions - embeds.shape[1];
  const eos = config.tokens.eos;
  const common = { maxNewTokens: Math.min(maxNewTokens, room), eosTokenIds: [eos], signal };
  const told: number[] = [];
  const onTokens = ([id]: readonly number[]) => {
    if (!onText || id === eos || id < 0) return;
    const before = tokenizer.decode(told);
    told.push(id);
    onText(tokenizer.decode(told).slice(before.length));
  };
  try {
    const made =
      beams > 1 ? (await beamSearch(decoder, { ...common, numBeams: beams }))[0].tokens
      : temperature > 0 ? (await sample(decoder, { ...common, seed, temperature, topP, onTokens }))[0]
      : (await greedy(decoder, { ...common, onTokens }))[0];
    return tokenizer.decode(made.filter((id) => id !== eos)).trim();
  } finally {
    decoder.dispose();
    embeds.dispose();
  }
}

/** A prompt for one question in the model's conversation template, pictures first, as LLaVA's data have them. */
export function questionPrompt(images: readonly RgbImage[], question: string, template: Template): Prompt {
  const [before, after] = promptText('<image>', template).split('<image>');
  return images.length ? [before, ...images, `\n${question}${after}`] : `${before}${question}${after}`;
}

/** Answers a question about pictures. */
export const answer = (model: DreamModel, tokenizer: Tokenizer, images: readonly RgbImage[], question: string, options: AnswerOptions = {}): Promise<string> =>
  continueText(model, tokenizer, questionPrompt(images, question, model.config.template), options);
