import * as tf from '@tensorflow/tfjs';
import { toImages, type RgbImage } from '../../core/images.js';
import { deriveSeed } from '../../core/random.js';
import { documentAt } from '../../data/documents.js';
import { parseSceneRef, renderScene, type Scene } from '../../data/scenes.js';
import type { InterleavedDocument } from '../../data/types.js';
import { drawFrom, queryStates } from '../../dreamllm/create.js';
import { embedPrompts } from '../../dreamllm/prompt.js';
import { gatherBlocks } from '../../dreamllm/splice.js';
import { defaultTestSet, type TestSet } from './comprehension.js';
import { evaluationScheduler, type CreationOptions, type Drawings } from './creation.js';
import { placesOf } from './documents.js';
import type { Subject } from './subject.js';

/** Held-out pages, whose pictures show one object each, with just `count` pictures in all: the last page may lose its later ones. */
export function pagesWith(count: number, { split, axis, seed }: TestSet = defaultTestSet): InterleavedDocument[] {
  const pages: InterleavedDocument[] = [];
  for (let index = 0, left = count; left > 0; index++) {
    const page = documentAt(seed, index, { split, axis, kinds: { page: 1 } });
    pages.push({ ...page, image_info: page.image_info.slice(0, left) });
    left -= page.image_info.length;
  }
  return pages;
}

/** The pictures of documents as scenes, each with the sentence that it stands behind. */
export const picturesOf = (documents: readonly InterleavedDocument[]): { scene: Scene; sentence: string }[] =>
  documents.flatMap(({ text_list, image_info }) => image_info.map(({ image_name, matched_text_index }) => ({ scene: parseSceneRef(image_name), sentence: text_list[matched_text_index] })));

/** What is said of such drawings in a protocol. */
export const pagesProtocol = { dataset: 'emoji documents, pages' } as const;

/**
 * Draws every picture of held-out pages from all that stands before it, true text and true earlier pictures, in one pass as training has it (the paper's
 * section 4.3: images from ground-truth texts). Guidance leads away from the empty prompt.
 */
export async function drawDocuments(subject: Subject, options: CreationOptions = {}): Promise<Drawings> {
  const { model, modelScale } = subject;
  const { count = 128, steps = 20, guidanceScale = 2, testSet = defaultTestSet, signal } = options;
  const { config } = model;
  const pages = pagesWith(count, testSet);
  const sampler = evaluationScheduler(config.sampler, steps);
  const negative = guidanceScale > 1 ? await queryStates(model, subject.tokenizer, ['']) : undefined;
  const drawn: RgbImage[] = [];
  const pagesAtOnce = 12;
  try {
    for (let start = 0; start < pages.length; start += pagesAtOnce) {
      const { embeds, collated } = embedPrompts(model, pages.slice(start, start + pagesAtOnce).map((page) => placesOf(subject, page).sequence));
      const states = await model.language.forward(embeds, {});
      const queries = tf.tidy(() => gatherBlocks(states, collated.dreamStarts, config.numDreamQueries));
      tf.dispose([embeds, states]);
      try {
        const seeds = collated.dreamStarts.map((_, i) => deriveSeed(testSet.seed, 'drawing', drawn.length + i));
        const pictures = await drawFrom(model, queries, negative, seeds, { sampler, guidanceScale, signal });
        drawn.push(...(await toImages(pictures)));
        pictures.dispose();
      } finally {
        queries.dispose();
      }
    }
  } finally {
    negative?.dispose();
  }
  const wanted = picturesOf(pages);
  const side = config.imageSize;
  return {
    scenes: wanted.map(({ scene }) => scene), prompts: wanted.map(({ sentence }) => sentence), drawn, unprompted: [],
    real: wanted.map(({ scene }) => ({ width: side, height: side, data: renderScene(scene, side) })),
    protocol: {
      ...pagesProtocol, split: `${testSet.split}, new ${testSet.axis}`, testSeed: testSet.seed, captionPolicy: 'the document before the picture', resolution: side,
      sampler: 'DDIM, eta 0', steps, guidanceScale, selection: 'single', seedPolicy: 'one a picture, named by its number', modelScale,
    },
  };
}
