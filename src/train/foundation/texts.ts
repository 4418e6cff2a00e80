import { random, deriveSeed } from '../../core/random.js';
import { pairAt } from '../../data/captions.js';
import { documentAt } from '../../data/documents.js';
import { conversationAt } from '../../data/instructions.js';
import { textAt } from '../../data/text.js';
import { rounds, type Template } from '../../dreamllm/conversation.js';

/** What the language model reads before it meets a picture, and in which shares. */
const shares = [
  ['text', 0.4],
  ['caption', 0.2],
  ['document', 0.15],
  ['conversation', 0.25],
] as const;

/** A text named by seed and path: an English text, a caption, the sentences of a document, or a conversation whose pictures were taken out. */
export function foundationText(split: 'train' | 'val', seed: number, path: readonly (string | number)[], template: Template): string {
  const stream = random(seed, 'foundation text', split, ...path);
  const index = deriveSeed(seed, 'foundation text', split, ...path);
  let draw = stream.uniform();
  const [kind] = shares.find(([, share]) => (draw -= share) < 0) ?? shares[0];
  switch (kind) {
    case 'text':
      return textAt(seed, index, split);
    case 'caption':
      return pairAt(seed, index, { split }).caption;
    case 'document':
      return documentAt(seed, index, { split }).text_list.join(' ');
    case 'conversation':
      return rounds(conversationAt(seed, index, { split }).conversations, template).map(({ before, answer }) => withoutPictures(before + answer)).join(' ');
  }
}

const withoutPictures = (text: string) => text.replace(/ ?<(image|dream)>\n?/g, '');
