import * as tf from '@tensorflow/tfjs';
import { clipPreprocessing, imageTensor, type RgbImage } from '../../core/images.js';
import { random } from '../../core/random.js';
import { caption, type CaptionForm } from '../../data/captions.js';
import { cells, paintedStyles, type Style } from '../../data/emoji.js';
import { renderScene, sceneWith, type Scene } from '../../data/scenes.js';
import type { Axis, Split } from '../../data/types.js';
import { clipImageEmbeds, clipTextEmbeds, clipTextTokens, type ClipConfig, type ClipParams } from '../../models/clip/index.js';
import type { Tokenizer } from '../../text/tokenizer.js';
import { measurement, type Measurement } from '../protocol.js';
import { mcnemarTest, wilson } from '../statistics.js';
import { defaultTestSet } from './comprehension.js';

/** A CLIP that compares pictures and texts. Where this project trained it, its name says so: it has seen the training pictures. */
export interface ClipJudge {
  readonly params: ClipParams;
  readonly config: ClipConfig;
  readonly tokenizer: Pick<Tokenizer, 'id' | 'encode'>;
  readonly name: string;
}

const batchSize = 64;

/** Unit vectors [pictures, projection], row-major. */
export async function embedPictures({ params, config }: ClipJudge, images: readonly RgbImage[]): Promise<Float32Array> {
  return inBatches(images, config.projectionSize, (batch) => clipImageEmbeds(params, imageTensor(batch, clipPreprocessing(config.vision.imageSize)), config));
}

/** Unit vectors [texts, projection], row-major. */
export async function embedTexts({ params, config, tokenizer }: ClipJudge, texts: readonly string[]): Promise<Float32Array> {
  return inBatches(texts, config.projectionSize, (batch) => clipTextEmbeds(params, clipTextTokens(batch, tokenizer, config.text), config));
}

async function inBatches<T>(items: readonly T[], dim: number, embed: (batch: readonly T[]) => tf.Tensor2D): Promise<Float32Array> {
  const rows = new Float32Array(items.length * dim);
  for (let start = 0; start < items.length; start += batchSize) {
    const embedded = tf.tidy(() => embed(items.slice(start, start + batchSize)));
    rows.set(await embedded.data(), start * dim);
    embedded.dispose();
  }
  return rows;
}

/** Which concept is it? Found in three ways, as shares of the pictures. */
export interface ConceptRetrieval {
  /** The nearest of captions that differ in the concept alone. */
  readonly byText: number;
  /** The nearest picture in the styles of training, by CLIP's picture embedding. */
  readonly byImages: number;
  /** The same by raw pixels, each less their common mean: what needs no learning. */
  readonly byPixels: number;
  /** Exact McNemar tests of the two against raw pixels. */
  readonly textP: number;
  readonly imagesP: number;
}

export interface Retrieval {
  /** Share of scenes whose own full caption is the most similar of all captions: object, style and ground help alike. */
  readonly caption: number;
  /** Pictures as the data has them: grounds, places and sizes vary in queries and gallery alike. */
  readonly scenes: ConceptRetrieval;
  /** Large, in the middle, on white: pictures of one concept differ by their style alone, which suits pixels best. */
  readonly aligned: ConceptRetrieval;
  readonly chance: number;
}

/**
 * What a CLIP makes of pictures in unseen (concept, style) cells, one for each concept. The value is caption retrieval, which it was trained for; the details
 * ask for the concept alone, in three ways, of which one is raw pixels.
 */
export async function measureRetrieval(clip: ClipJudge, { count = 200, split = 'test' as Split, axis = 'cell' as Axis, seed = defaultTestSet.seed } = {}): Promise<Measurement<Retrieval>> {
  const unseen = new Map(cells(split, axis).filter(({ concept }) => concept.isCore).map((cell) => [cell.concept.component, cell]));
  const asked = [...unseen.values()]
    .slice(0, count)
    .map(({ concept, style }) => ({ concept, style, others: paintedStyles.filter((each) => each !== style && concept.icons[each]) }))
    .filter(({ others }) => others.length > 0);
  const n = asked.length;
  if (n < 2) throw new Error(`Retrieval needs at least 2 objects in two styles, found ${n} in split "${split}", axis "${axis}".`);

  const scenes = asked.map(({ concept, style }, i) => sceneWith(random(seed, 'retrieval', i), 'single', [{ concept, style }], { split, axis }) ?? plain(concept.name, style));
  const others = asked.flatMap(({ concept, others: styles }, owner) =>
    styles.map((style) => ({ owner, scene: sceneWith(random(seed, 'retrieval gallery', owner, style), 'single', [{ concept, style }], { split, axis }) ?? plain(concept.name, style) })),
  );
  const own = asked.map((_, i) => i);
  const draw = (scene: Scene) => drawn(scene, clip.config.vision.imageSize);
  const hits = nearest(await embedPictures(clip, scenes.map(draw)), await embedTexts(clip, scenes.map((scene) => caption(scene, 'full'))), own, n);
  return measurement({
    metric: 'clip-retrieval', value: share(hits), n, ci: wilson(hits.filter(Boolean).length, n, 0.95, 'pictures'),
    protocol: { dataset: 'emoji world, single objects', split: `${split}, new ${axis}`, size: n, extractor: clip.name, testSeed: seed, captionPolicy: 'full caption', evaluation: 'top-1 caption, cosine' },
    details: {
      caption: share(hits),
      scenes: await conceptRetrieval(clip, scenes, others, 'short'),
      aligned: await conceptRetrieval(
        clip,
        asked.map(({ concept, style }) => plain(concept.name, style)),
        asked.flatMap(({ concept, others: styles }, owner) => styles.map((style) => ({ owner, scene: plain(concept.name, style) }))),
        'ground',
      ),
      chance: 1 / n,
    },
  });
}

/** `shown` scenes, one a concept; `gallery` scenes of the same concepts in other styles, each with the number of its concept. */
async function conceptRetrieval(clip: ClipJudge, shown: readonly Scene[], gallery: readonly { owner: number; scene: Scene }[], form: CaptionForm): Promise<ConceptRetrieval> {
  const n = shown.length;
  const side = clip.config.vision.imageSize;
  const [queries, pictures] = [shown.map((scene) => drawn(scene, side)), gallery.map(({ scene }) => drawn(scene, side))];
  const owners = gallery.map(({ owner }) => owner);
  const embedded = await embedPictures(clip, queries);
  const byText = nearest(embedded, await embedTexts(clip, shown.map((scene) => caption(scene, form))), shown.map((_, i) => i), n);
  const byImages = nearest(embedded, await embedPictures(clip, pictures), owners, n);
  const pixels = centred([...queries, ...pictures].map(({ data }) => Float32Array.from(data)));
  const byPixels = nearest(pixels.subarray(0, n * side * side * 3), pixels.subarray(n * side * side * 3), owners, n);
  const only = (a: readonly boolean[], b: readonly boolean[]) => a.filter((hit, i) => hit && !b[i]).length;
  const against = (found: readonly boolean[]) => mcnemarTest(only(found, byPixels), only(byPixels, found));
  return { byText: share(byText), byImages: share(byImages), byPixels: share(byPixels), textP: against(byText), imagesP: against(byImages) };
}

const share = (found: readonly boolean[]) => found.filter(Boolean).length / found.length;
const drawn = (scene: Scene, side: number): RgbImage => ({ width: side, height: side, data: renderScene(scene, side) });

/** One large object on white, where pictures of one concept differ by their style alone. */
const plain = (concept: string, style: Style): Scene => ({ kind: 'single', ground: 'white', objects: [{ concept, style, x: 1, y: 1, size: 30 }] });

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

/** Whether the most similar gallery row belongs to the query. Rows are unit vectors; `owners` gives each gallery row's query. */
function nearest(queries: Float32Array, gallery: Float32Array, owners: readonly number[], n: number): boolean[] {
  const dim = queries.length / n;
  return Array.from({ length: n }, (_, q) => {
    let best = -1;
    let highest = -Infinity;
    for (let g = 0; g < owners.length; g++) {
      let product = 0;
      for (let c = 0; c < dim; c++) product += queries[q * dim + c] * gallery[g * dim + c];
      if (product > highest) [best, highest] = [owners[g], product];
    }
    return best === q;
  });
}
