import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The tokens that DreamLLM adds to a LLaMA vocabulary (tokenization_dreamllm.py:61-94), and LLaMA's own four. */
const spellings = {
  unk: '<unk>',
  bos: '<s>',
  eos: '</s>',
  pad: '[PAD]',
  /** Place-holders of data: a given picture; a picture to be drawn. The model never sees them. */
  image: '<image>',
  dream: '<dream>',
  imStart: '<im_start>',
  imPatch: '<im_patch>',
  imEnd: '<im_end>',
  dreamStart: '<dream_start>',
  dreamEnd: '<dream_end>',
} as const;

export type SpecialTokens = Record<keyof typeof spellings, number>;

export const specialTokenText: Readonly<Record<keyof SpecialTokens, string>> = spellings;

/** The added tokens in declaration order: a vocabulary made here numbers them so. Released checkpoints do not. */
export const addedTokenNames = ['pad', 'image', 'imPatch', 'imStart', 'imEnd', 'dream', 'dreamStart', 'dreamEnd'] as const;

/** Ids of a vocabulary made here: LLaMA's three first, the added ones at the end, in declaration order. */
export function declaredTokens(vocabSize: number): SpecialTokens {
  const first = vocabSize - addedTokenNames.length;
  const added = Object.fromEntries(addedTokenNames.map((name, i) => [name, first + i])) as Record<(typeof addedTokenNames)[number], number>;
  return { unk: 0, bos: 1, eos: 2, ...added };
}

/** Finds the ids of all special tokens with `idOf`, which gives undefined for a token that the vocabulary lacks. */
export function findSpecialTokens(idOf: (text: string) => number | undefined, from: string): SpecialTokens {
  const found = Object.entries(spellings).map(([name, text]) => [name, idOf(text)] as const);
  const missing = found.filter(([, id]) => !Number.isInteger(id)).map(([name]) => spellings[name as keyof SpecialTokens]);
  if (missing.length) throw new Error(`${from} gives no id for ${missing.join(', ')}. A DreamLLM checkpoint needs all of ${Object.values(spellings).join(' ')}.`);
  const ids = Object.fromEntries(found) as SpecialTokens;
  if (new Set(Object.values(ids)).size < found.length) throw new Error(`${from} gives one id to two special tokens: ${JSON.stringify(ids)}.`);
  return ids;
}

/**
 * Ids from `special_tokens2ids_dict` of a config.json, or else from added_tokens.json beside it. `bos_token_id` and the like are not read: the
 * released config.json has them wrong (0, 1, -1 for 1, 2, 32000).
 */
export function readSpecialTokens(folder: string, config: Record<string, unknown>): SpecialTokens {
  const dictionary = config.special_tokens2ids_dict as (Record<string, unknown> & { additional_special_tokens?: Record<string, number> }) | undefined;
  if (dictionary) {
    const flat = { ...dictionary, ...dictionary.additional_special_tokens } as Record<string, number>;
    return findSpecialTokens((text) => flat[text], 'special_tokens2ids_dict of config.json');
  }
  const file = join(folder, 'added_tokens.json');
  if (!existsSync(file)) throw new Error(`${folder}: config.json has no special_tokens2ids_dict and ${file} is missing, so the special tokens have no ids.`);
  const added = JSON.parse(readFileSync(file, 'utf8')) as Record<string, number>;
  const llama: Record<string, number> = { '<unk>': 0, '<s>': 1, '</s>': 2 }; // fixed in every LLaMA vocabulary
  return findSpecialTokens((text) => added[text] ?? llama[text], file);
}
