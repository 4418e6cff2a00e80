import * as tf from '@tensorflow/tfjs';
import { embedding } from '../../core/ops/index.js';
import type { RgbImage } from '../../core/images.js';
import { documentAt, longDocuments } from '../../data/documents.js';
import type { InterleavedDocument } from '../../data/types.js';
import { layoutConfig } from '../../dreamllm/config.js';
import { layOut, type Segment, type Sequence } from '../../dreamllm/layout.js';
import { embedPrompts } from '../../dreamllm/prompt.js';
import { dreamTokenScores, type DreamPredictions, type DreamTokenScores } from '../dream-tokens.js';
import { measurement, type Measurement } from '../protocol.js';
import { defaultTestSet, type CountOptions, type TestSet } from './comprehension.js';
import { picture, type Subject } from './subject.js';

interface Places {
  readonly sequence: Sequence<RgbImage | null>;
  /** Positions of the last tokens of sentences: what comes next is a picture, more text or the end. */
  readonly positions: number[];
  readonly hasPicture: boolean[];
}

export interface DocumentOptions extends CountOptions {
  /** Only documents of so many pictures, of the kinds that can be long. */
  readonly pictures?: number;
}

/** The first `count` held-out documents with just so many pictures. */
function documentsOf(pictures: number, count: number, { split, axis, seed }: TestSet): InterleavedDocument[] {
  const found: InterleavedDocument[] = [];
  for (let index = 0; found.length < count; index++) {
    const document = documentAt(seed, index, { ...longDocuments, split, axis, maxImages: pictures });
    if (document.image_info.length === pictures) found.push(document);
    if (index > 200 * count) throw new Error(`Expected ${count} documents of ${pictures} pictures, found ${found.length} among ${index}. Documents have 2 to ${longDocuments.maxImages}.`);
  }
  return found;
}

/**
 * How well a model places pictures in held-out documents that it reads with their own text and pictures: after each sentence, is `<dream_start>` the
 * most likely token where a picture follows, and is it likelier there than elsewhere? The value is the F1 of the first.
 */
export async function measureDreamTokens(subject: Subject, { count = 64, pictures, testSet = defaultTestSet, signal }: DocumentOptions = {}): Promise<Measurement<DreamTokenScores & { leftOut: number }>> {
  const { split, axis, seed } = testSet;
  const documents = pictures === undefined ? Array.from({ length: count }, (_, i) => documentAt(seed, i, { split, axis })) : documentsOf(pictures, count, testSet);
  const { maxPositions } = subject.model.config.language;
  const laidOut = documents.map((document) => ({ id: document.id, ...placesOf(subject, document) }));
  const fitting = laidOut.filter(({ sequence }) => sequence.tokenIds.length <= maxPositions).sort((a, b) => a.sequence.tokenIds.length - b.sequence.tokenIds.length);
  const predictions: DreamPredictions[] = [];
  const batchSize = 16;
  for (let start = 0; start < fitting.length; start += batchSize) {
    signal?.throwIfAborted();
    predictions.push(...(await predict(subject, fitting.slice(start, start + batchSize))));
  }
  const scores = dreamTokenScores(predictions);
  return measurement({
    metric: 'dream-token-f1', value: scores.f1, n: scores.pictures,
    protocol: {
      dataset: pictures === undefined ? 'emoji documents' : `emoji documents of ${pictures} pictures`, split: `${split}, new ${axis}`, testSeed: seed, size: scores.documents, modelScale: subject.modelScale,
      evaluation: 'teacher-forced, ends of sentences', matcher: '<dream_start> is the most likely token',
    },
    details: { ...scores, leftOut: laidOut.length - fitting.length },
  });
}

/** A document as training lays it out, with each sentence's end marked. */
export function placesOf({ model: { config }, tokenizer }: Subject, { text_list, image_info }: InterleavedDocument): Places {
  const layout = layoutConfig(config);
  const segments: Segment<RgbImage | null>[] = [{ kind: 'text', tokenIds: [config.tokens.bos], learned: false }];
  const positions: number[] = [];
  const hasPicture: boolean[] = [];
  let length = 1;
  let beginsText = true;
  text_list.forEach((sentence, i) => {
    // Within a text, a sentence goes on behind a blank; behind a picture a text begins anew.
    const tokenIds = tokenizer.encode(beginsText ? sentence.trim() : ` ${sentence.trim()}`);
    segments.push({ kind: 'text', tokenIds, learned: false });
    length += tokenIds.length;
    positions.push(length - 1);
    const shown = image_info.filter(({ matched_text_index }) => matched_text_index === i);
    hasPicture.push(shown.length > 0);
    beginsText = shown.length > 0;
    for (const { image_name } of shown) {
      const image = picture(image_name, config.vision.imageSize);
      segments.push({ kind: 'dream', image, learned: false }, { kind: 'image', image });
      length += layout.numDreamQueries + 2 + layout.numImagePatches + 2;
    }
  });
  return { sequence: layOut(segments, layout), positions, hasPicture };
}

async function predict({ model }: Subject, batch: readonly (Places & { id: string })[]): Promise<DreamPredictions[]> {
  const { config, language } = model;
  const { embeds } = embedPrompts(model, batch.map(({ sequence }) => sequence));
  const states = await language.forward(embeds, {});
  const [, tokens, dim] = states.shape;
  const rows = batch.flatMap(({ positions }, i) => positions.map((position) => i * tokens + position));
  const [probability, top] = tf.tidy(() => {
    const chosen = embedding(states.reshape([batch.length * tokens, dim]), tf.tensor1d(rows, 'int32')) as tf.Tensor2D;
    const logits = language.head(chosen);
    return [tf.softmax(logits).slice([0, config.tokens.dreamStart], [-1, 1]), logits.argMax(1)];
  });
  const [values, ids] = [await probability.data(), await top.data()];
  tf.dispose([embeds, states, probability, top]);
  let next = 0;
  return batch.map(({ id, hasPicture }) => {
    const range = hasPicture.map(() => next++);
    return { id, hasPicture, isTop: range.map((i) => ids[i] === config.tokens.dreamStart), probability: range.map((i) => Math.min(1, values[i])) };
  });
}
