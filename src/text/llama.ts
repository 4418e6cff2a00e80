import llamaData from 'llama-tokenizer-js';
import { addedToken, tokenizerFromJson, type Tokenizer, type TokenizerJson } from './tokenizer.js';

/** Ids of tokens that a checkpoint adds, as its `added_tokens.json` lists them. */
export type AddedTokens = Readonly<Record<string, number>>;

/** A byte-pair vocabulary: tokens by id, and pairs of tokens in the order in which they are merged. */
export interface BpeVocabulary {
  tokens: readonly string[];
  merges: readonly (readonly [string, string])[];
}

/**
 * The `tokenizer.json` of a LLaMA vocabulary: a text gets "▁" in front and for each space, unknown characters become bytes. As in the legacy
 * tokenizer that DreamLLM's data code expects, a text behind a special token gets its "▁" too.
 */
export function llamaTokenizerJson({ tokens, merges }: BpeVocabulary, added: AddedTokens = {}): TokenizerJson {
  const control = ['<unk>', '<s>', '</s>'].map((content) => [content, tokens.indexOf(content)] as const);
  return {
    version: '1.0',
    added_tokens: [...control, ...Object.entries(added)].map(([content, id]) => addedToken(content, id)),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [],
      special_tokens: { '<s>': { id: '<s>', ids: [tokens.indexOf('<s>')], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map(([left, right]) => `${left} ${right}`),
    },
  };
}

/** The vocabulary of LLaMA 1 and 2, and so of Vicuna: 32000 tokens. The data come from llama-tokenizer-js, under Meta's terms. */
export function llamaVocabulary(): BpeVocabulary {
  const merges = [...llamaData.merges].sort(([, a], [, b]) => a - b).map(([pair]) => {
    const split = pair.indexOf(' ');
    return [pair.slice(0, split), pair.slice(split + 1)] as const;
  });
  return { tokens: llamaData.vocabById, merges };
}

/** The tokenizer of LLaMA 1 and 2 with the tokens that a checkpoint adds. */
export const llamaTokenizer = (added: AddedTokens = {}): Tokenizer => tokenizerFromJson(llamaTokenizerJson(llamaVocabulary(), added));
