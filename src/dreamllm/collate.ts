import { ignored, type Sequence } from './layout.js';
import type { SpecialTokens } from './special-tokens.js';

/** Sequences of one batch, padded on the right. Index lists count rows of the flattened [batch · tokens] axis. */
export interface Collated<I> {
  batch: number;
  tokens: number;
  /** [batch · tokens], `[PAD]` behind the end of a sequence. */
  tokenIds: Int32Array;
  /** [batch · tokens], -100 where nothing is learned. Not shifted. */
  labels: Int32Array;
  /** [batch · tokens], 1 on tokens and 0 on padding. */
  mask: Int32Array;
  /** Pictures of the whole batch in order of `<im_start>`, sequence by sequence. */
  images: I[];
  /** Pictures of the whole batch in order of `<dream_start>`. */
  dreamImages: I[];
  /** Rows of the first patch of each picture in `images`. */
  imageStarts: number[];
  /** Rows of the first query of each picture in `dreamImages`. */
  dreamStarts: number[];
}

/** Pads sequences to the longest (or to `padTo`) and gathers their pictures in order. */
export function collate<I>(sequences: readonly Sequence<I>[], specials: SpecialTokens, padTo = 0): Collated<I> {
  if (sequences.length === 0) throw new Error('A batch needs at least one sequence.');
  const batch = sequences.length;
  const tokens = Math.max(padTo, ...sequences.map(({ tokenIds }) => tokenIds.length));
  const result: Collated<I> = {
    batch,
    tokens,
    tokenIds: new Int32Array(batch * tokens).fill(specials.pad),
    labels: new Int32Array(batch * tokens).fill(ignored),
    mask: new Int32Array(batch * tokens),
    images: sequences.flatMap(({ images }) => images),
    dreamImages: sequences.flatMap(({ dreamImages }) => dreamImages),
    imageStarts: [],
    dreamStarts: [],
  };
  sequences.forEach(({ tokenIds, labels }, row) => {
    result.tokenIds.set(tokenIds, row * tokens);
    result.labels.set(labels, row * tokens);
    result.mask.fill(1, row * tokens, row * tokens + tokenIds.length);
  });
  Object.assign(result, blockStarts(result.tokenIds, specials));
  const check = (token: string, starts: number[], pictures: I[]) => {
    if (starts.length !== pictures.length) throw new Error(`The batch has ${starts.length} ${token} but ${pictures.length} pictures for them.`);
  };
  check('<im_start>', result.imageStarts, result.images);
  check('<dream_start>', result.dreamStarts, result.dreamImages);
  return result;
}

/** Where the blocks of flattened sequences begin, behind their start tokens. */
export function blockStarts(tokenIds: Int32Array, { imStart, dreamStart }: SpecialTokens): Pick<Collated<unknown>, 'imageStarts' | 'dreamStarts'> {
  const after = (token: number) => [...tokenIds.keys()].filter((i) => tokenIds[i] === token).map((i) => i + 1);
  return { imageStarts: after(imStart), dreamStarts: after(dreamStart) };
}
