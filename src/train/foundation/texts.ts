import { random, deriveSeed } from '../../core/random.js';
import { caption, pairAt } from '../../data/captions.js';
import { documentAt } from '../../data/documents.js';
import { sceneOf } from '../../data/images.js';
import { conversationAt, type ConversationKind } from '../../data/instructions.js';
import { weighted } from '../../data/scenes.js';
import { textAt } from '../../data/text.js';
import { rounds, type Template } from '../../dreamllm/conversation.js';

/** What the language model reads before it meets a picture, and in which shares. */
const shares = { text: 15, caption: 4, pair: 20, document: 16, conversation: 45 };

/**
 * How often each kind of conversation is read. Vicuna can already answer from a text, choose an option and say again what it was told;
 * a model of this size learns that from many examples.
 */
const conversationKinds: Partial<Record<ConversationKind, number>> = { choice: 42, dialogue: 20, question: 10, draw: 15, recolor: 7, describe: 3, detail: 3 };

/** A piece of text. Questions are read without being learned, as in Vicuna's own tuning. */
export interface TextPiece {
  text: string;
  learned: boolean;
}

/** What a picture's place holds in a text without pictures: its full caption. */
export function inWords(ref: string): string {
  const scene = sceneOf(ref);
  return `${caption(scene, 'full')}${scene.effect ? `, ${scene.effect}` : ''}`;
}

/**
 * A text named by seed and path: an English text, a caption, or a pair, document or conversation with its pictures in words. A conversation has a piece
 * for each question and each answer; every answer ends its piece of sequence.
 */
export function foundationText(
  split: 'train' | 'val', seed: number, path: readonly (string | number)[], template: Template, only?: ConversationKind,
): TextPiece[] {
  const stream = random(seed, 'foundation text', split, ...path);
  const index = deriveSeed(seed, 'foundation text', split, ...path);
  const kind = only ? 'conversation' : weighted(stream, shares);
  switch (kind) {
    case 'text':
      return [{ text: textAt(seed, index, split), learned: true }];
    case 'caption':
      return [{ text: pairAt(seed, index, { split }).caption, learned: true }];
    case 'pair': {
      const { caption: words, image } = pairAt(seed, index, { split });
      return [{ text: `${words} ${inWords(image)}`, learned: true }];
    }
    case 'document': {
      const { text_list, image_info } = documentAt(seed, index, { split });
      const shown = text_list.map((sentence, i) => [sentence, ...image_info.filter((each) => each.matched_text_index === i).map(({ image_name }) => `${inWords(image_name)}.`)]);
      return [{ text: shown.flat().join(' '), learned: true }];
    }
    case 'conversation': {
      const kinds = only ? { [only]: 1 } : conversationKinds;
      const { conversations, images } = conversationAt(seed, index, { split, conversationKinds: kinds });
      let next = 0;
      const turns = conversations.map(({ from, value }) => ({ from, value: value.replace(/<image>|<dream>/g, () => inWords(images[next++])) }));
      return rounds(turns, template).flatMap(({ before, answer }) => [{ text: before, learned: false }, { text: answer, learned: true }]);
    }
  }
}
