import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { nanoTemplate } from '../dreamllm/conversation.js';
import { NanoTokenizer, trainNanoTokenizer } from '../text/nano.js';
import { pairAt } from './captions.js';
import { documentAt } from './documents.js';
import { concepts } from './emoji.js';
import { conversationAt, instructInterleavedAt } from './instructions.js';
import { commonGlosses, facts, textAt } from './text.js';

/** Where the committed tokenizer lies: data/foundation/tokenizer.json. */
export const nanoTokenizerPath = fileURLToPath(new URL('../../data/foundation/tokenizer.json', import.meta.url));
export const nanoVocabSize = 2048;

let loaded: NanoTokenizer | undefined;

/** The committed nano tokenizer. */
export function nanoTokenizer(): NanoTokenizer {
  if (!loaded) {
    if (!existsSync(nanoTokenizerPath)) throw new Error(`${nanoTokenizerPath} is missing. Make it with "dreamllm data tokenizer".`);
    loaded = NanoTokenizer.load(nanoTokenizerPath);
  }
  return loaded;
}

/** The text that the committed tokenizer was trained on: training data of every kind, each concept's name and facts, common words. */
export function* tokenizerTexts(seed = 0): Generator<string> {
  for (const concept of concepts()) {
    yield `${concept.name}.`;
    yield* facts(concept);
  }
  yield* commonGlosses();
  for (let i = 0; i < 8000; i++) {
    yield ` ${pairAt(seed, i, { split: 'train' }).caption}`;
    yield textAt(seed, i, 'train');
  }
  for (let i = 0; i < 4000; i++) {
    yield documentAt(seed, i, { split: 'train' }).text_list.join(' ');
    yield `${nanoTemplate.system} ${nanoTemplate.user}: ${instructInterleavedAt(seed, i, { split: 'train' }).instruction} ${nanoTemplate.assistant}:`;
    for (const { from, value } of conversationAt(seed, i, { split: 'train' }).conversations) {
      // Place-holders never reach the model as text.
      yield ` ${from === 'human' ? nanoTemplate.user : nanoTemplate.assistant}: ${value.replace(/<\w+>/g, '')}`;
    }
  }
}

/** Trains the nano tokenizer: about ten seconds. */
export const trainTokenizer = (vocabSize = nanoVocabSize): NanoTokenizer => trainNanoTokenizer(tokenizerTexts(), vocabSize);
