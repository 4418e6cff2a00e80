import * as tf from '@tensorflow/tfjs';
import { clipPreprocessing, imageTensor, type RgbImage } from '../../core/images.js';
import { cells, concepts, paintedStyles, type Style } from '../../data/emoji.js';
import { renderScene } from '../../data/scenes.js';
import type { Axis, Split } from '../../data/types.js';
import { clipImageEmbeds, clipTextEmbeds, clipTextTokens, type ClipConfig, type ClipParams } from '../../models/clip/index.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import { measurement, type Measurement } from '../protocol.js';
import { mcnemarTest, wilson } from '../statistics.js';

/** A CLIP that compares pictures and texts. Where this project trained it, its name says so: it has seen the training pictures. */
export interface ClipJudge {
  readonly params: ClipParams;
  readonly config: ClipConfig;
  readonly tokenizer: Pick<Tokenizer, 'id' | 'encode'>;
  readonly name: string;
}

const batchSize = 64;

/** Unit vectors [pictures, projection], row-major. */
export function embedPictures({ params, config }: ClipJudge, images: readonly RgbImage[]): Float32Array {
  return inBatches(images, config.projectionSize, (batch) => clipImageEmbeds(params, imageTensor(batch, clipPreprocessing(config.vision.imageSize)), config));
}

/** Unit vectors [texts, projection], row-major. */
export function embedTexts({ params, config, tokenizer }: ClipJudge, texts: readonly string[]): Float32Array {
  return inBatches(texts, config.projectionSize, (batch) => clipTextEmbeds(params, clipTextTokens(batch, tokenizer, config.text), config));
}

function inBatches<T>(items: readonly T[], dim: number, embed: (batch: readonly T[]) => tf.Tensor2D): Float32Array {
  const rows = new Float32Array(items.length * dim);
  for (let start = 0; start < items.length; start += batchSize) rows.set(tf.tidy(() => embed(items.slice(start, start + batchSize)).dataSync()), start * dim);
  return rows;
}

export interface Retrieval {
  /** Pictures in unseen cells found among the same objects in another style, by CLIP and by raw pixels. */
  readonly clip: number;
  readonly pixels: number;
  /** Exact McNemar test of the two. */
  readonly p: number;
  /** The right name among all names. */
  readonly textTop1: number;
  readonly chance: number;
}

/**
 * Retrieval across styles: each query is a picture of an unseen (concept, style) cell, the gallery holds the same concepts in another style. CLIP has to
 * know the object; raw pixels have to be alike. The value is CLIP's top-1 accuracy.
 */
export function measureRetrieval(clip: ClipJudge, { count = 200, split = 'test' as Split, axis = 'cell' as Axis } = {}): Measurement<Retrieval> {
  const side = clip.config.vision.imageSize;
  const known = new Map(concepts().map((concept) => [concept.name, concept]));
  const queries = [...new Map(cells(split, axis).filter(({ concept }) => concept.isCore).map((cell) => [cell.concept.component, cell])).values()].slice(0, count);
  const pairs = queries.flatMap(({ concept, style }) => {
    const other = paintedStyles.find((each) => each !== style && known.get(concept.name)!.icons[each]);
    return other ? [{ name: concept.name, query: render(concept.name, style, side), gallery: render(concept.name, other, side) }] : [];
  });
  const n = pairs.length;
  if (n < 2) throw new Error(`Retrieval needs at least 2 objects in two styles, found ${n} in split "${split}", axis "${axis}".`);
  const nearest = (query: Float32Array, gallery: Float32Array) => top1(query, gallery, n);
  const pixels = (which: 'query' | 'gallery') => centred(pairs.map((pair) => Float32Array.from(pair[which].data)));
  const byClip = nearest(embedPictures(clip, pairs.map(({ query }) => query)), embedPictures(clip, pairs.map(({ gallery }) => gallery)));
  const byPixels = nearest(pixels('query'), pixels('gallery'));
  const byText = nearest(embedPictures(clip, pairs.map(({ query }) => query)), embedTexts(clip, pairs.map(({ name }) => name)));
  const hits = (found: readonly boolean[]) => found.filter(Boolean).length;
  const only = (a: readonly boolean[], b: readonly boolean[]) => a.filter((hit, i) => hit && !b[i]).length;
  return measurement({
    metric: 'clip-retrieval', value: hits(byClip) / n, n, ci: wilson(hits(byClip), n, 0.95, 'pictures'),
    protocol: { dataset: 'emoji world, single objects', split: `${split}, new ${axis}`, size: n, extractor: clip.name, evaluation: 'top-1 across styles, cosine' },
    details: { clip: hits(byClip) / n, pixels: hits(byPixels) / n, p: mcnemarTest(only(byClip, byPixels), only(byPixels, byClip)), textTop1: hits(byText) / n, chance: 1 / n },
  });
}

const render = (concept: string, style: Style, side: number): RgbImage => ({
  width: side, height: side, data: renderScene({ kind: 'single', ground: 'white', objects: [{ concept, style, x: 1, y: 1, size: 30 }] }, side),
});

/** Rows less their common mean, at unit length: cosine of what tells pictures apart. */
function centred(rows: readonly Float32Array[]): Float32Array {
  const dim = rows[0].length;
  const mean = new Float64Array(dim);
  for (const row of rows) for (let c = 0; c < dim; c++) mean[c] += row[c] / rows.length;
  const out = new Float32Array(rows.length * dim);
  rows.forEach((row, r) => {
    const shifted = Float64Array.from(row, (value, c) => value - mean[c]);
    const length = Math.hypot(...shifted) || 1;
    out.set(shifted.map((value) => value / length), r * dim);
  });
  return out;
}

/** Whether the most similar gallery row is the query's own. Rows are unit vectors. */
function top1(queries: Float32Array, gallery: Float32Array, n: number): boolean[] {
  const dim = queries.length / n;
  return Array.from({ length: n }, (_, q) => {
    let best = -1;
    let highest = -Infinity;
    for (let g = 0; g < n; g++) {
      let product = 0;
      for (let c = 0; c < dim; c++) product += queries[q * dim + c] * gallery[g * dim + c];
      if (product > highest) [best, highest] = [g, product];
    }
    return best === q;
  });
}
