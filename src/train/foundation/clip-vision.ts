import * as tf from '@tensorflow/tfjs';
import { flipHorizontally, type RgbImage } from '../../core/images.js';
import { select } from '../../core/params.js';
import { random, type Random } from '../../core/random.js';
import { caption, pairAt } from '../../data/captions.js';
import { cells, type Cell, type Concept } from '../../data/emoji.js';
import { renderScene, sceneWith, type Scene } from '../../data/scenes.js';
import { clipImageEmbeds, clipLogits, clipTextPooled, contrastiveLoss, projectTexts, type ClipConfig, type ClipParams } from '../../models/clip/index.js';
import type { NanoTokenizer } from '../../text/nano.js';
import { maxLogitScale, retrieval } from './clip.js';
import { clipTextTokens } from './clip-text.js';
import type { Part, PartSettings } from './part.js';
import { clipPixels, type Example } from './pictures.js';

/** What trains. The text tower stays as the U-Net knows it: locked tuning (Zhai et al. 2022) with the towers' roles exchanged. */
export const pictureTower = ['vision_model', 'visual_projection', 'text_projection', 'logit_scale'];
/** Share of a batch that shows objects in two styles; the rest are scenes of every kind. */
const shareOfPairs = 2 / 3;
/** Weight of the contrast between two artists' pictures of one thing (Khosla et al. 2020), beside that of pictures and captions. */
const styleWeight = 0.5;
/** Factor on cosines between pictures. */
const pictureScale = 10;

/**
 * CLIP's picture tower, trained further on `params`: pictures and captions as before, with look-alikes in one batch, and two artists' pictures of one
 * thing held together. What makes an apple an apple in every style is what the language model must be told.
 */
export function clipVisionPart(params: ClipParams, config: ClipConfig, tokenizer: NanoTokenizer, settings: PartSettings): Part {
  const { seed, batchSize } = settings;
  const side = config.vision.imageSize;
  const numPairs = Math.round((batchSize * shareOfPairs) / 2);
  const pooled = (texts: readonly string[]) => tf.tidy(() => clipTextPooled(params, clipTextTokens(texts, tokenizer, config.text), config.text));
  type Inputs = { pixels: tf.Tensor4D; texts: tf.Tensor2D };

  return {
    params,
    task: {
      name: 'vision',
      trainable: select(params, pictureTower),
      batch(step) {
        const examples = contrastExamples(seed, 'vision', step, batchSize, numPairs, side);
        const inputs: Inputs = { pixels: clipPixels(examples.map(({ picture }) => picture)), texts: pooled(examples.map((each) => each.caption)) };
        return { ids: examples.map(({ id }) => id), inputs };
      },
      loss(inputs) {
        const { pixels, texts } = inputs as Inputs;
        const images = clipImageEmbeds(params, pixels, config);
        const scale = { logit_scale: params.logit_scale.minimum(maxLogitScale) as unknown as typeof params.logit_scale };
        const captions = contrastiveLoss(clipLogits(scale, images, projectTexts(params, texts)));
        const [first, second] = [images.slice([0, 0], [numPairs, -1]), images.slice([numPairs, 0], [numPairs, -1])];
        const styles = contrastiveLoss(tf.matMul(first, second, false, true).mul(pictureScale));
        return { loss: captions.add<tf.Scalar>(styles.mul(styleWeight)), captions, styles };
      },
    },
    evaluate: () => retrieval(params, config, tokenizer, seed),
    dispose: () => tf.dispose(params),
  };
}

/** The batch `step` of the part `name`: `numPairs` things, the same things by another artist, then scenes of every kind. Captions differ. */
export function contrastExamples(seed: number, name: string, step: number, count: number, numPairs: number, side: number): Example[] {
  const stream = random(seed, name, step);
  const things = drawThings(stream, numPairs);
  const examples: Example[] = [];
  const texts = new Set<string>();
  const add = (id: string, text: string, scene: Scene, mirrored: boolean) => {
    texts.add(text);
    examples.push({ id, caption: text, scene, picture: drawn(scene, side, mirrored) });
  };
  for (const which of [0, 1]) {
    things.forEach((pair, i) => {
      const scene = sceneWith(stream, 'single', [pair[which]], { split: 'train' });
      if (!scene) throw new Error(`"${pair[which].concept.name}" in style ${pair[which].style} stands out on no ground.`);
      // The short caption is given to one of the two only.
      const form = stream.choice(which === 0 ? (['short', 'ground', 'full'] as const) : (['styled', 'full'] as const));
      const text = caption(scene, form);
      add(`${name}-${seed}-${step}-${which}-${i}`, texts.has(text) ? caption(scene, 'full') : text, scene, stream.uniform() < 0.5);
    });
  }
  for (let index = step * 4 * count; examples.length < count; index++) {
    const { id, caption: text, scene } = pairAt(seed, index, { split: 'train' });
    if (!texts.has(text)) add(id, text, scene, false);
  }
  return examples;
}

let artists: { group: string; isCore: boolean; cells: readonly Cell[] }[] | undefined;

/** Different things, each in two styles. Half of the batches are of one group, whose members are told apart with more care. */
function drawThings(stream: Random, count: number): [Cell, Cell][] {
  if (!artists) {
    const byConcept = new Map<Concept, Cell[]>();
    for (const cell of cells('train')) byConcept.set(cell.concept, [...(byConcept.get(cell.concept) ?? []), cell]);
    artists = [...byConcept].filter(([, own]) => own.length > 1).map(([{ group, isCore }, own]) => ({ group, isCore, cells: own }));
  }
  const all = artists;
  const group = stream.uniform() < 0.5 ? stream.choice(all).group : undefined;
  const near = stream.shuffle(group ? all.filter((each) => each.group === group) : all);
  const wanted = [...near.filter(({ isCore }) => isCore || stream.uniform() < 0.3), ...stream.shuffle(all)];
  return [...new Set(wanted)].slice(0, count).map(({ cells: own }) => stream.shuffle(own).slice(0, 2) as [Cell, Cell]);
}

function drawn(scene: Scene, side: number, mirrored: boolean): RgbImage {
  const picture = { width: side, height: side, data: renderScene(scene, side) };
  return mirrored ? flipHorizontally(picture) : picture;
}
