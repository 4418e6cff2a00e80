/**
 * Records of the data layer. They keep the field names of the formats they come from or go to: LLaVA JSON, MMC4 and InstructMMC4 jsonl,
 * COCO captions and the MMBench TSV.
 */

/**
 * Names a picture: `emoji:SET/ICON` (one icon on white), `scene:…` (see `scenes.ts`), or the path of a file. `loadImage` gives its pixels.
 */
export type ImageRef = string;

export type Split = 'train' | 'val' | 'test';

/**
 * What is new in a held-out picture: the cell (a known concept in a style it was never seen in), the composition (a known concept in a
 * colour, number or relation it was never seen in), or the concept.
 */
export type Axis = 'cell' | 'composition' | 'concept';

/** A picture and its caption (LAION, COCO captions, LLaVA pretraining). */
export interface Pair {
  id: string;
  image: ImageRef;
  caption: string;
  /** Whether a joint stage reads or draws the picture. Default: a fair coin. */
  direction?: 'read' | 'draw';
}

/** One picture of an MMC4 document. It stands after the sentence at `matched_text_index`. */
export interface ImageInfo {
  image_name: ImageRef;
  matched_text_index: number;
  /** Similarity of picture and sentence, in [-1, 1]; the paper keeps 0.25 and above. */
  matched_sim?: number;
  raw_url?: string;
}

/** Sentences with pictures between them (MMC4). */
export interface InterleavedDocument {
  id: string;
  text_list: string[];
  image_info: ImageInfo[];
  url?: string;
  /** images × sentences, as in MMC4. */
  similarity_matrix?: number[][];
}

/** An interleaved document written on request (InstructMMC4). */
export interface InstructInterleaved extends InterleavedDocument {
  instruction: string;
}

export interface Turn {
  from: 'human' | 'gpt';
  /** Text with the place-holders `<image>` (a given picture) and `<dream>` (a picture that the assistant draws). */
  value: string;
}

/** A conversation (LLaVA instruct). `images` are those of the place-holders, in order. */
export interface Conversation {
  id: string;
  images: ImageRef[];
  conversations: Turn[];
}

/** A question about a picture: open (`answers`) or multiple choice (`options` and the letter in `answer`). */
export interface Question {
  index: number;
  image: ImageRef;
  question: string;
  hint?: string;
  /** Texts of the options A, B, C, D. Absent for an open question. */
  options?: string[];
  /** The right letter of a multiple choice, the right text of an open question. */
  answer: string;
  /** Ability of the third level, such as `spatial_relationship`, or the kind of an open question. */
  category: string;
  /** Ability of the second level, such as `finegrained_perception (cross-instance)`. */
  'l2-category'?: string;
  source?: string;
  split?: string;
}
