import { random, deriveSeed } from '../../core/random.js';
import { caption, pairAt } from '../../data/captions.js';
import { documentAt } from '../../data/documents.js';
import { sceneOf } from '../../data/images.js';
import { choiceOf } from '../../data/choices.js';
import { choicePrompt, conversationAt, type ConversationKind } from '../../data/instructions.js';
import { shortQuestions } from '../../data/questions.js';
import { sceneAt, weighted } from '../../data/scenes.js';
import { textAt } from '../../data/text.js';
import { rounds, type ConversationTurn, type Template } from '../../dreamllm/conversation.js';

/** What the language model reads before it meets a picture. */
type TextKind = 'text' | 'caption' | 'document' | 'conversation' | 'letters';

/** Shares of the kinds, from the beginning, and once it can answer questions and has to learn which letter an answer has. */
const shares: Record<'first' | 'letters', Partial<Record<TextKind, number>>> = {
  first: { text: 20, caption: 8, document: 17, conversation: 55 },
  letters: { text: 12, caption: 4, document: 12, conversation: 44, letters: 28 },
};

/**
 * How often each kind of conversation is read. Vicuna can already answer from a text, choose a lettered option and say again what it was told;
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
 * A text named by seed and path: an English text, a caption, or a document or conversation with its pictures in words. A conversation has a piece
 * for each question and each answer; every answer ends its piece of sequence.
 */
export function foundationText(
  split: 'train' | 'val', seed: number, path: readonly (string | number)[], template: Template,
  { phase = 'first', only }: { phase?: 'first' | 'letters'; only?: ConversationKind } = {},
): TextPiece[] {
  const stream = random(seed, 'foundation text', split, ...path);
  const index = deriveSeed(seed, 'foundation text', split, ...path);
  const kind = only ? 'conversation' : weighted(stream, shares[phase]);
  switch (kind) {
    case 'text':
      return [{ text: textAt(seed, index, split), learned: true }];
    case 'caption':
      return [{ text: pairAt(seed, index, { split }).caption, learned: true }];
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
      return pieces(turns, template);
    }
    case 'letters': {
      const choices = shortQuestions(sceneAt(seed, index, { split }), stream).map((each) => choiceOf(each, stream)).filter((choice) => choice !== undefined);
      const { right, wrong } = stream.choice(choices);
      const options = stream.shuffle([right, ...wrong]);
      const asked = stream.shuffle(options.map((_, i) => i));
      const turns = asked.flatMap((option, turn) => [
        { from: 'human' as const, value: choicePrompt(`which letter has ${options[option]}?`, turn === 0 ? options : []) },
        { from: 'gpt' as const, value: 'ABCD'[option] },
      ]);
      return pieces(turns, template);
    }
  }
}

const pieces = (turns: readonly ConversationTurn[], template: Template): TextPiece[] =>
  rounds(turns, template).flatMap(({ before, answer }) => [{ text: before, learned: false }, { text: answer, learned: true }]);
