import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { llamaTokenizerJson, type AddedTokens } from './llama.js';
import { NanoTokenizer } from './nano.js';
import { readSentencePiece } from './sentencepiece.js';
import { addedToken, tokenizerFromJson, type Tokenizer, type TokenizerJson } from './tokenizer.js';

/** The tokenizer of a checkpoint folder: its `tokenizer.json`, or its `tokenizer.model` and `added_tokens.json` as Vicuna and DreamLLM have them. */
export function loadTokenizer(folder: string): Tokenizer {
  const read = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as unknown;
  const added = existsSync(join(folder, 'added_tokens.json')) ? (read('added_tokens.json') as AddedTokens) : {};
  if (existsSync(join(folder, 'tokenizer.json'))) {
    const json = read('tokenizer.json') as TokenizerJson;
    const known = new Set(json.added_tokens?.map(({ content }) => content));
    const missing = Object.entries(added).filter(([content]) => !known.has(content));
    const complete = { ...json, added_tokens: [...(json.added_tokens ?? []), ...missing.map(([content, id]) => addedToken(content, id))] };
    return json.pre_tokenizer?.type === 'ByteLevel' ? new NanoTokenizer(complete as unknown as ConstructorParameters<typeof NanoTokenizer>[0]) : tokenizerFromJson(complete);
  }
  const model = join(folder, 'tokenizer.model');
  if (existsSync(model)) return tokenizerFromJson(llamaTokenizerJson(readSentencePiece(model), added));
  throw new Error(`${folder} holds neither tokenizer.json nor tokenizer.model. Fetch one of them from where the checkpoint came from.`);
}
