import { random } from '../core/random.js';
import { conversation, instructInterleaved, nanoTemplate, type ConversationOptions, type Template } from '../dreamllm/conversation.js';
import { imageToText, interleaved, textToImage, type Encode, type LayoutConfig, type Mode, type PlacedImage, type Sequence } from '../dreamllm/layout.js';
import type { Conversation, ImageRef, InstructInterleaved, InterleavedDocument, Pair } from './types.js';

/** Whatever a stage trains on. */
export type TrainingRecord = Pair | InterleavedDocument | InstructInterleaved | Conversation;

export interface SampleOptions extends ConversationOptions {
  /** `joint` lays a pair out in one direction by a fair coin, and a picture of running text to be drawn and then read. */
  mode: Mode;
  /** Names the coins. */
  seed?: number;
  template?: Template;
}

/** Lays a record out as tokens, labels and picture slots. The same record, options and tokenizer give the same sequence. */
export function toSample(
  record: TrainingRecord,
  encode: Encode,
  config: LayoutConfig,
  { mode, seed = 0, template = nanoTemplate, ...options }: SampleOptions,
): Sequence<ImageRef> {
  if ('caption' in record) {
    const isRead = mode === 'joint' ? (record.direction ? record.direction === 'read' : random(seed, 'direction', record.id).uniform() >= 0.5) : mode === 'comprehension';
    const text = encode(record.caption);
    return isRead ? imageToText(record.image, text, config) : textToImage(text, record.image, config);
  }
  if ('conversations' in record) return conversation(record.conversations, record.images, encode, config, { template, ...options });
  if ('instruction' in record) return instructInterleaved(record.instruction, record.text_list, placedImages(record), encode, config, { mode, template });
  return interleaved(record.text_list, placedImages(record), encode, config, { mode });
}

const placedImages = ({ image_info }: InterleavedDocument): PlacedImage<ImageRef>[] =>
  image_info.map(({ image_name, matched_text_index }) => ({ image: image_name, matchedTextIndex: matched_text_index }));
