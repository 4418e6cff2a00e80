import { Tokenizer as Engine } from '@huggingface/tokenizers';

/** What the rest of the library asks of a tokenizer. */
export interface Tokenizer {
  readonly vocabSize: number;
  /** Id of a token such as `<dream_start>`; an error if there is none. */
  id(token: string): number;
  /** Ids of `text` without begin and end; special tokens spelt in the text become their ids. */
  encode(text: string): number[];
  /** Special tokens are left out unless `keepSpecial`. */
  decode(ids: Iterable<number>, options?: { keepSpecial?: boolean }): string;
}

/** The parsed text of a Hugging Face `tokenizer.json`. */
export type TokenizerJson = { added_tokens?: { id: number; content: string }[]; pre_tokenizer?: { type: string; [key: string]: unknown } | null } & Record<string, unknown>;

/** A tokenizer from any `tokenizer.json`, run by @huggingface/tokenizers. */
export function tokenizerFromJson(json: TokenizerJson): Tokenizer {
  const engine = new Engine(json, {});
  const vocabulary = engine.get_vocab(true);
  return {
    vocabSize: Math.max(...vocabulary.values()) + 1,
    id(token) {
      const id = vocabulary.get(token);
      if (id === undefined) throw new Error(`The tokenizer has no token "${token}". Its added tokens are ${(json.added_tokens ?? []).map(({ content }) => content).join(' ')}.`);
      return id;
    },
    encode: (text) => (text === '' ? [] : engine.encode(text, { add_special_tokens: false }).ids),
    decode: (ids, { keepSpecial = false } = {}) => engine.decode([...ids], { skip_special_tokens: !keepSpecial, clean_up_tokenization_spaces: false }),
  };
}

/** An entry of `added_tokens`. */
export const addedToken = (content: string, id: number) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true });
