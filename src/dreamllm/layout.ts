import type { SpecialTokens } from './special-tokens.js';

/**
 * How documents become token sequences (DreamLLM sections 2 and 3; builder_dreamllm.py of the reference code).
 *
 *     dream block: <dream_start> queries × <im_patch> <dream_end>
 *     image block: <im_start>    patches × <im_patch> <im_end>
 *
 * `I` is whatever stands for a picture: a name while data is laid out, pixels later.
 */
export interface LayoutConfig {
  tokens: SpecialTokens;
  numDreamQueries: number;
  numImagePatches: number;
  /** Longest sequence, begin and end included. */
  maxTokens: number;
}

/** The label of a position that is no target. */
export const ignored = -100;

export interface Sequence<I> {
  tokenIds: number[];
  /** The token at the same position where it is a target, else -100. The loss shifts. */
  labels: number[];
  /** Pictures that are read, one for each `<im_start>`, in order. */
  images: I[];
  /** Pictures that are drawn, one for each `<dream_start>`, in order. */
  dreamImages: I[];
  /** Something did not fit and was left out. */
  isTruncated: boolean;
}

/** Which half of a picture in running text is laid out: read it, draw it, or draw it and then read it. */
export type Mode = 'comprehension' | 'creation' | 'joint';

/** Text, a picture to be drawn, or a picture to be read. `learned` marks targets: for a dream block its `<dream_start>` alone. */
export type Segment<I> =
  | { kind: 'text'; tokenIds: readonly number[]; learned: boolean }
  | { kind: 'dream'; image: I; learned: boolean }
  | { kind: 'image'; image: I };

export const dreamBlockLength = ({ numDreamQueries }: Pick<LayoutConfig, 'numDreamQueries'>): number => numDreamQueries + 2;
export const imageBlockLength = ({ numImagePatches }: Pick<LayoutConfig, 'numImagePatches'>): number => numImagePatches + 2;

/** Positions that a generated and then read picture takes: 324 with 64 queries and 256 patches. */
export const pictureLength = (config: Pick<LayoutConfig, 'numDreamQueries' | 'numImagePatches'>): number => dreamBlockLength(config) + imageBlockLength(config);

export function dreamBlock({ tokens, numDreamQueries }: LayoutConfig): number[] {
  return [tokens.dreamStart, ...Array<number>(numDreamQueries).fill(tokens.imPatch), tokens.dreamEnd];
}

export function imageBlock({ tokens, numImagePatches }: LayoutConfig): number[] {
  return [tokens.imStart, ...Array<number>(numImagePatches).fill(tokens.imPatch), tokens.imEnd];
}

const lengthOf = (segment: Segment<unknown>, config: LayoutConfig): number =>
  segment.kind === 'text' ? segment.tokenIds.length : segment.kind === 'dream' ? dreamBlockLength(config) : imageBlockLength(config);

/** Joins segments without looking at their length. */
export function layOut<I>(segments: readonly Segment<I>[], config: LayoutConfig, isTruncated = false): Sequence<I> {
  const sequence: Sequence<I> = { tokenIds: [], labels: [], images: [], dreamImages: [], isTruncated };
  for (const segment of segments) {
    const ids = segment.kind === 'text' ? segment.tokenIds : segment.kind === 'dream' ? dreamBlock(config) : imageBlock(config);
    ids.forEach((id, i) => {
      sequence.tokenIds.push(id);
      const isTarget = segment.kind === 'text' ? segment.learned : segment.kind === 'dream' && segment.learned && i === 0;
      sequence.labels.push(isTarget ? id : ignored);
    });
    if (segment.kind === 'image') sequence.images.push(segment.image);
    if (segment.kind === 'dream') sequence.dreamImages.push(segment.image);
  }
  return sequence;
}

const text = (tokenIds: readonly number[], learned: boolean) => ({ kind: 'text', tokenIds, learned }) as const;

/** Image to text: `<s> image text </s>`. Begin, text and end are targets; a long text is cut. */
export function imageToText<I>(image: I, textIds: readonly number[], config: LayoutConfig): Sequence<I> {
  const { tokens, maxTokens } = config;
  const kept = textIds.slice(0, Math.max(0, maxTokens - imageBlockLength(config) - 2));
  return layOut([text([tokens.bos], true), { kind: 'image', image }, text([...kept, tokens.eos], true)], config, kept.length < textIds.length);
}

/** Text to image: `<s> text dream </s>`. Nothing is a target of the language loss; a long text is cut. */
export function textToImage<I>(textIds: readonly number[], image: I, config: LayoutConfig): Sequence<I> {
  const { tokens, maxTokens } = config;
  const kept = textIds.slice(0, Math.max(0, maxTokens - dreamBlockLength(config) - 2));
  return layOut([text([tokens.bos, ...kept], false), { kind: 'dream', image, learned: false }, text([tokens.eos], false)], config, kept.length < textIds.length);
}

/** Image to image: `<s> image dream </s>`, such as an edit whose words are in neither. Nothing is a target of the language loss. */
export function imageToImage<I>(source: I, target: I, config: LayoutConfig): Sequence<I> {
  const { tokens } = config;
  return layOut([text([tokens.bos], false), { kind: 'image', image: source }, { kind: 'dream', image: target, learned: false }, text([tokens.eos], false)], config);
}

/** A picture of a document, after the sentence with this index. */
export interface PlacedImage<I> {
  image: I;
  matchedTextIndex: number;
}

/**
 * Joins the sentences of an MMC4 document around its pictures: a picture follows the sentences up to and including its own. Two pictures at one
 * sentence have an empty text between them; what is left after the last picture is a last text without one.
 */
export function mergeTexts<I>(sentences: readonly string[], placed: readonly PlacedImage<I>[]): { text: string; image?: I }[] {
  const sorted = [...placed].sort((a, b) => a.matchedTextIndex - b.matchedTextIndex); // stable: ties stay in list order
  const parts: { text: string; image?: I }[] = [];
  let next = 0;
  for (const { image, matchedTextIndex } of sorted) {
    if (!Number.isInteger(matchedTextIndex) || matchedTextIndex < 0) throw new Error(`Expected the index of a sentence, found ${matchedTextIndex}.`);
    parts.push({ text: sentences.slice(next, matchedTextIndex + 1).map((s) => s.trim()).join(' '), image });
    next = Math.max(next, matchedTextIndex + 1);
  }
  if (next < sentences.length) parts.push({ text: sentences.slice(next).map((s) => s.trim()).join(' ') });
  return parts;
}

/** Token ids of a text, without begin or end. */
export type Encode = (text: string) => number[];

/**
 * An interleaved document: `<s> text dream image text dream image … </s>`, after a masked `prompt` if there is one. Text, `<dream_start>` and
 * `</s>` are targets. The document ends before the first text or picture that does not fit.
 */
export function interleaved<I>(
  sentences: readonly string[],
  placed: readonly PlacedImage<I>[],
  encode: Encode,
  config: LayoutConfig,
  { mode = 'joint', prompt = [] }: { mode?: Mode; prompt?: readonly number[] } = {},
): Sequence<I> {
  const { tokens, maxTokens } = config;
  const segments: Segment<I>[] = [text([tokens.bos], prompt.length === 0), text(prompt, false)];
  let length = prompt.length + 2; // with begin and end
  const fits = (group: Segment<I>[]) => {
    const needed = group.reduce((sum, segment) => sum + lengthOf(segment, config), 0);
    if (length + needed > maxTokens) return false;
    length += needed;
    segments.push(...group);
    return true;
  };
  const isWhole = mergeTexts(sentences, placed).every(
    ({ text: words, image }) => fits([text(words ? encode(words) : [], true)]) && (image === undefined || fits(picture(image, mode))),
  );
  return layOut([...segments, text([tokens.eos], true)], config, !isWhole);
}

function picture<I>(image: I, mode: Mode): Segment<I>[] {
  const dream = { kind: 'dream', image, learned: true } as const;
  const read = { kind: 'image', image } as const;
  return mode === 'joint' ? [dream, read] : mode === 'creation' ? [dream] : [read];
}
