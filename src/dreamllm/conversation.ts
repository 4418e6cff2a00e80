import { interleaved, layOut, type Encode, type LayoutConfig, type Mode, type PlacedImage, type Segment, type Sequence } from './layout.js';

/** The template `vicuna_v1.1` (omni/conversation/conversation.py:125-131). */
export const vicuna = {
  system:
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions.",
  user: 'USER',
  assistant: 'ASSISTANT',
};
export type Template = typeof vicuna;

/** Vicuna's form with a short system text, for the short context of small models. */
export const nanoTemplate: Template = { system: 'a chat.', user: 'USER', assistant: 'ASSISTANT' };

export interface ConversationTurn {
  from: 'human' | 'gpt';
  /** With `<image>` where a picture is given and `<dream>` where the assistant draws one. */
  value: string;
}

/** The text before an answer: `system USER: … ASSISTANT:`. */
export function promptText(request: string, { system, user, assistant }: Template = vicuna): string {
  return `${system} ${user}: ${request} ${assistant}:`;
}

/** Rounds of one question and one answer, each as `before` (masked, up to `ASSISTANT:`) and `answer` (learned, then `</s>`). */
export function rounds(turns: readonly ConversationTurn[], template: Template = vicuna): { before: string; answer: string }[] {
  const { system, user, assistant } = template;
  // LLaVA drops a first turn of the assistant: it answers nothing.
  const kept = turns[0]?.from === 'gpt' ? turns.slice(1) : turns;
  if (kept.length === 0 || kept.length % 2) throw new Error(`A conversation must pair each question with an answer; found ${kept.length} turns.`);
  const result: { before: string; answer: string }[] = [];
  for (let i = 0; i < kept.length; i += 2) {
    if (kept[i].from !== 'human' || kept[i + 1].from !== 'gpt') throw new Error(`Turns ${i} and ${i + 1} must be human and gpt, found ${kept[i].from} and ${kept[i + 1].from}.`);
    result.push({ before: `${i === 0 ? `${system} ` : ''}${user}: ${kept[i].value} ${assistant}:`, answer: ` ${kept[i + 1].value}` });
  }
  return result;
}

/**
 * `intent`: a sequence ends before a block that does not fit, and a text is cut at the limit. `released`: as the reference code does
 * (builder_dreamllm.py:29-58), which at such a block keeps only the first tokens, as many as were still free.
 */
export type Truncation = 'intent' | 'released';

export interface ConversationOptions {
  template?: Template;
  truncation?: Truncation;
  /** Make the `<dream_start>` of an answer a target. The released code does so in documents but not in conversations. */
  learnDreamStart?: boolean;
}

/**
 * A conversation: `<s> system USER: … ASSISTANT: … </s> USER: …`. Answers and their `</s>` are targets. `images` are those of the place-holders,
 * in order; `<image>` becomes an image block, `<dream>` a dream block and the image block of the same picture.
 */
export function conversation<I>(
  turns: readonly ConversationTurn[],
  images: readonly I[],
  encode: Encode,
  config: LayoutConfig,
  { template = vicuna, truncation = 'intent', learnDreamStart = false }: ConversationOptions = {},
): Sequence<I> {
  const { tokens } = config;
  const placeholders = turns.reduce((count, { value }) => count + (value.match(/<image>|<dream>/g)?.length ?? 0), 0);
  if (placeholders !== images.length) throw new Error(`The conversation has ${placeholders} place-holders <image> and <dream> but ${images.length} pictures. Give one for each.`);

  const units: Segment<I>[][] = [[{ kind: 'text', tokenIds: [tokens.bos], learned: false }]];
  let nextImage = 0;
  for (const { before, answer } of rounds(turns, template)) {
    for (const { piece, learned } of pieces(before, answer)) {
      if (piece === '<image>') units.push([{ kind: 'image', image: images[nextImage++] }]);
      else if (piece === '<dream>') {
        const image = images[nextImage++];
        units.push([{ kind: 'dream', image, learned: learned && learnDreamStart }, { kind: 'image', image }]);
      } else units.push(...boundary(piece, learned, encode));
    }
    units.push([{ kind: 'text', tokenIds: [tokens.eos], learned: true }]);
  }
  return truncation === 'intent' ? cut(units, config) : cutAsReleased(units, config);

  /** Text pieces and place-holders of a round. The piece with the boundary is kept whole: it is encoded as one text. */
  function pieces(masked: string, learnedText: string) {
    const split = (part: string) => part.split(/(<image>|<dream>)/).filter(Boolean);
    const [first, last] = [split(masked), split(learnedText)];
    const before = first.map((piece) => ({ piece: piece as string | [string, string], learned: false }));
    const after = last.map((piece) => ({ piece: piece as string | [string, string], learned: true }));
    const head = before.pop()!; // ends in "ASSISTANT:"
    const isText = after.length > 0 && after[0].piece !== '<image>' && after[0].piece !== '<dream>';
    const joined = { piece: [head.piece as string, isText ? (after.shift()!.piece as string) : ''] as [string, string], learned: false };
    return [...before, joined, ...after];
  }
}

/**
 * Segments of a text. At the boundary of question and answer the whole is encoded and what the question alone needs is masked, so that the ids are
 * those of one running text (the offset method of LLaVA).
 */
function boundary(piece: string | [string, string], learned: boolean, encode: Encode): Segment<never>[][] {
  if (typeof piece === 'string') return [[{ kind: 'text', tokenIds: encode(piece), learned }]];
  const [before, answer] = piece;
  const all = encode(before + answer);
  const masked = encode(before).length;
  return [
    [{ kind: 'text', tokenIds: all.slice(0, masked), learned: false }],
    [{ kind: 'text', tokenIds: all.slice(masked), learned: true }],
  ];
}

function cut<I>(units: readonly Segment<I>[][], config: LayoutConfig): Sequence<I> {
  const kept: Segment<I>[] = [];
  let free = config.maxTokens;
  for (const unit of units) {
    const [first] = unit;
    if (first.kind === 'text') {
      const isCut = first.tokenIds.length > free;
      if (free > 0) kept.push({ ...first, tokenIds: first.tokenIds.slice(0, free) });
      free -= first.tokenIds.length;
      if (isCut) return layOut(kept, config, true);
    } else {
      const length = layOut(unit, config).tokenIds.length;
      if (length > free) return layOut(kept, config, true);
      kept.push(...unit);
      free -= length;
    }
  }
  return layOut(kept, config);
}

/** The released truncation, on the same units. A cut through a block leaves its picture in place only while its start token is kept. */
function cutAsReleased<I>(units: readonly Segment<I>[][], config: LayoutConfig): Sequence<I> {
  const { maxTokens, tokens } = config;
  const whole = layOut(units.flat(), config);
  let length = 0;
  const kept: Segment<I>[] = [];
  for (const unit of units) {
    const { tokenIds } = layOut(unit, config);
    if (unit[0].kind === 'text') {
      // The reference stops at the token that reaches the limit. A block that ends just there hides it, and the text runs on.
      if (length < maxTokens && length + tokenIds.length >= maxTokens) return keepFirst(maxTokens, length + tokenIds.length > maxTokens || unit !== units.at(-1));
    } else if (length + tokenIds.length > maxTokens) {
      return keepFirst(length < maxTokens ? Math.min(length, maxTokens - length) : length, true);
    }
    kept.push(...unit);
    length += tokenIds.length;
  }
  return layOut(kept, config);

  function keepFirst(count: number, isTruncated: boolean): Sequence<I> {
    const tokenIds = whole.tokenIds.slice(0, count);
    const starts = (id: number) => tokenIds.filter((token) => token === id).length;
    return {
      tokenIds,
      labels: whole.labels.slice(0, count),
      images: whole.images.slice(0, starts(tokens.imStart)),
      dreamImages: whole.dreamImages.slice(0, starts(tokens.dreamStart)),
      isTruncated,
    };
  }
}

/** An interleaved document written on request (InstructMMC4): a masked prompt with the instruction, then the document as a target. */
export function instructInterleaved<I>(
  instruction: string,
  sentences: readonly string[],
  placed: readonly PlacedImage<I>[],
  encode: Encode,
  config: LayoutConfig,
  { mode = 'joint', template = vicuna }: { mode?: Mode; template?: Template } = {},
): Sequence<I> {
  return interleaved(sentences, placed, encode, config, { mode, prompt: encode(promptText(instruction, template)) });
}
