import { readFileSync } from 'node:fs';

/**
 * The nano tokenizer: byte-level BPE (Sennrich et al. 2016, on bytes as in GPT-2), trained here and stored as a Hugging Face `tokenizer.json`,
 * so that other tokenizer libraries read it with the same result. Text keeps its case; the project's own data is lower-case.
 */

/** Ids 0, 1, 2 as in LLaMA. */
const controlTokens = ['<unk>', '<s>', '</s>'] as const;
/** Placed after the vocabulary, as DreamLLM adds them to Vicuna's. */
export const multimodalTokens = ['[PAD]', '<image>', '<im_patch>', '<im_start>', '<im_end>', '<dream>', '<dream_start>', '<dream_end>'] as const;

/** GPT-2's split into words, each with the space before it. */
const wordPattern = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** The printable character that stands for each byte in `tokenizer.json` (GPT-2's table). */
const byteCharacters: readonly string[] = (() => {
  const isPrintable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
})();
const characterBytes = new Map(byteCharacters.map((character, byte) => [character, byte]));

interface TokenizerJson {
  added_tokens: { id: number; content: string; special: boolean }[];
  model: { type: string; vocab: Record<string, number>; merges: [string, string][]; [key: string]: unknown };
  [key: string]: unknown;
}

export class NanoTokenizer {
  readonly vocabSize: number;
  /** Id of each control and multimodal token, such as `<dream_start>`. */
  readonly specialTokens: ReadonlyMap<string, number>;
  private readonly tokens: string[] = [];
  private readonly byteIds: number[];
  /** Rank and result of merging two ids, by `left · vocabSize + right`. */
  private readonly merges = new Map<number, { rank: number; id: number }>();
  private readonly words = new Map<string, readonly number[]>();
  private readonly specialPattern: RegExp;

  constructor(readonly json: TokenizerJson) {
    const { model, added_tokens } = json;
    if (model?.type !== 'BPE' || !Array.isArray(added_tokens)) throw new Error(`tokenizer.json: expected a BPE model with added tokens, found ${model?.type}.`);
    for (const [token, id] of Object.entries(model.vocab)) this.tokens[id] = token;
    for (const { content, id } of added_tokens) this.tokens[id] = content;
    this.vocabSize = this.tokens.length;
    this.specialTokens = new Map(added_tokens.map(({ content, id }) => [content, id]));
    this.byteIds = byteCharacters.map((character) => {
      const id = model.vocab[character];
      if (id === undefined) throw new Error(`tokenizer.json: the vocabulary lacks the byte "${character}". This reader expects a byte-level BPE.`);
      return id;
    });
    model.merges.forEach(([left, right], rank) => {
      this.merges.set(model.vocab[left] * this.vocabSize + model.vocab[right], { rank, id: model.vocab[left + right] });
    });
    const escaped = added_tokens.map(({ content }) => content.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    this.specialPattern = new RegExp(`(${escaped.join('|')})`);
  }

  static load(path: string | URL): NanoTokenizer {
    return new NanoTokenizer(JSON.parse(readFileSync(path, 'utf8')) as TokenizerJson);
  }

  /** Id of a control or multimodal token. */
  id(token: string): number {
    const id = this.specialTokens.get(token);
    if (id === undefined) throw new Error(`The tokenizer has no special token "${token}". It has ${[...this.specialTokens.keys()].join(' ')}.`);
    return id;
  }

  /** Token of an id as `tokenizer.json` writes it: "Ġ" stands for a space. */
  token(id: number): string {
    const token = this.tokens[id];
    if (token === undefined) throw new Error(`Token id ${id} is outside the vocabulary of ${this.vocabSize}.`);
    return token;
  }

  /** Ids of `text`, without `<s>` and `</s>` unless the text names them: special tokens in the text become their ids. */
  encode(text: string): number[] {
    const ids: number[] = [];
    for (const part of text.split(this.specialPattern)) {
      const special = this.specialTokens.get(part);
      if (special !== undefined) ids.push(special);
      else for (const [word] of part.matchAll(wordPattern)) ids.push(...this.encodeWord(word));
    }
    return ids;
  }

  /** Text of `ids`. Special tokens are left out unless `keepSpecial` is set. Bytes that are no UTF-8 become U+FFFD. */
  decode(ids: Iterable<number>, { keepSpecial = false } = {}): string {
    let text = '';
    let bytes: number[] = [];
    const flush = () => {
      text += new TextDecoder().decode(Uint8Array.from(bytes));
      bytes = [];
    };
    for (const id of ids) {
      const token = this.token(id);
      if (!this.specialTokens.has(token)) {
        for (const character of token) bytes.push(characterBytes.get(character)!);
      } else if (keepSpecial) {
        flush();
        text += token;
      }
    }
    flush();
    return text;
  }

  private encodeWord(word: string): readonly number[] {
    let ids = this.words.get(word);
    if (!ids) {
      ids = this.merge([...new TextEncoder().encode(word)].map((byte) => this.byteIds[byte]));
      if (this.words.size < 100_000) this.words.set(word, ids);
    }
    return ids;
  }

  /** Applies the merge of lowest rank until none applies. */
  private merge(ids: number[]): number[] {
    while (ids.length > 1) {
      let best: { rank: number; id: number } | undefined;
      let at = -1;
      for (let i = 0; i + 1 < ids.length; i++) {
        const merge = this.merges.get(ids[i] * this.vocabSize + ids[i + 1]);
        if (merge && (!best || merge.rank < best.rank)) {
          best = merge;
          at = i;
        }
      }
      if (!best) break;
      ids.splice(at, 2, best.id);
    }
    return ids;
  }
}

/** Trains a tokenizer of `vocabSize` ids (bytes, merges, control and multimodal tokens) on `texts`. The same texts give the same tokenizer. */
export function trainNanoTokenizer(texts: Iterable<string>, vocabSize: number): NanoTokenizer {
  const numMerges = vocabSize - controlTokens.length - 256 - multimodalTokens.length;
  if (numMerges < 0) throw new Error(`A byte-level vocabulary needs at least ${vocabSize - numMerges} ids, found ${vocabSize}.`);
  const merges = learnMerges(countWords(texts), numMerges);

  const vocab: Record<string, number> = {};
  for (const token of [...controlTokens, ...byteCharacters, ...merges.map(([left, right]) => left + right)]) vocab[token] = Object.keys(vocab).length;
  const size = Object.keys(vocab).length;
  const special = (content: string, id: number) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true });
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return new NanoTokenizer({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...controlTokens.map(special), ...multimodalTokens.map((content, i) => special(content, size + i))],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 0 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [vocab['<s>']], tokens: ['<s>'] } },
    },
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  });
}

function countWords(texts: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) for (const [word] of text.matchAll(wordPattern)) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

/** The most frequent pair again and again; among equals the first in code point order, so that the order of the texts does not matter. */
function learnMerges(counts: Map<string, number>, numMerges: number): [string, string][] {
  const encoder = new TextEncoder();
  const words = [...counts].map(([word, count]) => ({ symbols: [...encoder.encode(word)].map((byte) => byteCharacters[byte]), count }));
  const pairs = new Map<string, { left: string; right: string; count: number; words: Set<number> }>();
  const change = (left: string, right: string, word: number, count: number) => {
    const key = `${left} ${right}`;
    let pair = pairs.get(key);
    if (!pair) pairs.set(key, (pair = { left, right, count: 0, words: new Set() }));
    pair.count += count;
    if (count > 0) pair.words.add(word);
    if (pair.count === 0) pairs.delete(key);
  };
  words.forEach(({ symbols, count }, index) => {
    for (let i = 0; i + 1 < symbols.length; i++) change(symbols[i], symbols[i + 1], index, count);
  });

  const merges: [string, string][] = [];
  while (merges.length < numMerges) {
    let bestKey = '';
    let best: { left: string; right: string; count: number; words: Set<number> } | undefined;
    for (const [key, pair] of pairs) {
      if (!best || pair.count > best.count || (pair.count === best.count && key < bestKey)) [bestKey, best] = [key, pair];
    }
    if (!best || best.count < 2) throw new Error(`The texts give only ${merges.length} merges of ${numMerges}. Train on more text or ask for a smaller vocabulary.`);
    const { left, right } = best;
    merges.push([left, right]);
    for (const index of best.words) {
      const { symbols, count } = words[index];
      for (let i = 0; i + 1 < symbols.length; i++) {
        if (symbols[i] !== left || symbols[i + 1] !== right) continue;
        change(left, right, index, -count);
        if (i > 0) {
          change(symbols[i - 1], left, index, -count);
          change(symbols[i - 1], left + right, index, count);
        }
        if (i + 2 < symbols.length) {
          change(right, symbols[i + 2], index, -count);
          change(left + right, symbols[i + 2], index, count);
        }
        symbols.splice(i, 2, left + right);
      }
    }
  }
  return merges;
}
