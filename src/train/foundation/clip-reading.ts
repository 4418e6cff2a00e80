import * as tf from '@tensorflow/tfjs';
import { crossEntropy, embedding, IGNORED } from '../../core/ops/index.js';
import { constant, flatten, initialize, normal, select } from '../../core/params.js';
import { caption } from '../../data/captions.js';
import { concepts } from '../../data/emoji.js';
import { renderScene, sceneAt } from '../../data/scenes.js';
import { project, projectorSpec } from '../../dreamllm/projector.js';
import {
  clipLogits, clipPatches, clipTextPooled, clipTextTokens, clipVisionStates, contrastiveLoss, poolImage, projectImages, projectTexts, type ClipConfig, type ClipParams,
} from '../../models/clip/index.js';
import { embedTokens, llamaStates, lmHead, lmLoss, type LlamaConfig, type LlamaParams } from '../../models/llama/index.js';
import { biasedLinearSpec, layerNorm, linear, normSpec } from '../../nn/index.js';
import type { NanoTokenizer } from '../../text/nano.js';
import { maxLogitScale, retrieval } from './clip.js';
import { contrastExamples, pictureTower } from './clip-vision.js';
import type { Part, PartSettings } from './part.js';
import { clipPixels, distinctExamples, type Example } from './pictures.js';

/** Share of a batch that shows objects in two styles; the rest are scenes of every kind. */
const shareOfPairs = 1 / 2;
/** Share of a batch whose captions are read: scenes of every kind. */
const shareRead = 1 / 4;

/** Factor on the cosines between pictures and words. */
const wordScale = 16;
/** Each row divided by its length. */
const unit = (x: tf.Tensor2D): tf.Tensor2D => x.div(x.square().sum(1, true).sqrt());

/** A frozen language model that must say what pictures show. */
export interface Reader {
  params: LlamaParams;
  config: LlamaConfig;
}

/**
 * CLIP's picture tower, trained further on `params` with more objectives beside the contrast, each on the patches that DreamLLM takes and through maps that
 * are thrown away afterwards: a frozen language model must say the full caption (as in SigLIP 2, Tschannen et al. 2025), the concepts shown must be told
 * apart from the mean patch, and later also the caption's words (Huang et al. 2024), by their embeddings in that language model. The contrast teaches the
 * class token what a picture shows; these teach the patches.
 */
export function clipReadingPart(params: ClipParams, config: ClipConfig, reader: Reader, tokenizer: NanoTokenizer, settings: PartSettings): Part {
  const { seed, batchSize } = settings;
  const side = config.vision.imageSize;
  const numPairs = Math.round((batchSize * shareOfPairs) / 2);
  const numRead = Math.round(batchSize * shareRead);
  const spec = projectorSpec({ inSize: config.vision.hiddenSize, outSize: reader.config.hiddenSize, depth: 2, initialScale: 0.1, bias: true });
  const map = initialize(spec, seed, 'foundation.reading');
  const names = concepts().filter(({ split }) => split === 'train').map(({ name }) => name);
  const numberOf = new Map(names.map((name, i) => [name, i]));
  const toWords = initialize(biasedLinearSpec(config.vision.hiddenSize, reader.config.hiddenSize, normal(config.vision.hiddenSize ** -0.5), constant(0)), seed, 'foundation.reading.words');
  const embeddings = tf.tidy(() => {
    const rows = reader.params.model.embed_tokens.weight;
    return tf.keep(unit(rows.sub<tf.Tensor2D>(rows.mean(0))));
  });
  const head = initialize({ norm: normSpec(config.vision.hiddenSize), concepts: biasedLinearSpec(config.vision.hiddenSize, names.length, constant(0), constant(0)) }, seed, 'foundation.reading.head');
  const functionWords = new Set(['a', 'an', 'of', 'on', 'in', 'the', 'and', 'picture', 'background'].flatMap((word) => [...tokenizer.encode(` ${word}`), ...tokenizer.encode(word)]));
  const [bos, eos] = [tokenizer.id('<s>'), tokenizer.id('</s>')];

  /** Full captions between `<s>` and `</s>`, padded. Both [captions, tokens]. */
  const captionsOf = (examples: readonly Example[]) => {
    const rows = examples.map(({ scene }) => [...tokenizer.encode(caption(scene, 'full')), eos]);
    const length = Math.max(...rows.map((row) => row.length));
    const padded = (fill: number, first: number) => tf.tensor2d(rows.map((row) => [first, ...row, ...Array<number>(length - row.length).fill(fill)]), [rows.length, length + 1], 'int32');
    return { ids: padded(eos, bos), labels: padded(IGNORED, IGNORED) };
  };
  type Captions = ReturnType<typeof captionsOf>;

  /** Logits that predict the tokens of captions from the pictures before them, under `labels` as `lmLoss` shifts them. [pictures, tokens, vocab] */
  const read = (patches: tf.Tensor3D, { ids }: Captions) => tf.tidy(() => {
    const [pictures, tokens] = ids.shape;
    const words = embedTokens(reader.params, ids);
    const [first, rest] = tf.split(words, [1, tokens - 1], 1);
    const states = llamaStates(reader.params, tf.concat([first, project(map, patches), rest], 1) as tf.Tensor3D, reader.config);
    return lmHead(reader.params, states.slice<tf.Tensor3D>([0, patches.shape[1], 0], [pictures, tokens, -1]));
  });
  type Inputs = { pixels: tf.Tensor4D; texts: tf.Tensor2D; captions: Captions; shown: ReturnType<typeof shownIn>; words?: ReturnType<typeof wordsOf> };

  /** What pictures show: for each distinct object the row of its picture and its concept's number. */
  const shownIn = (examples: readonly Example[]) => {
    const found = examples.flatMap(({ scene }, row) => [...new Set(scene.objects.map(({ concept }) => concept))].map((name) => [row, numberOf.get(name)!]));
    return { rows: tf.tensor1d(found.map(([row]) => row), 'int32'), concepts: tf.tensor1d(found.map(([, number]) => number), 'int32') };
  };
  /** The content words of captions: for each distinct token the row of its picture and its id. */
  const wordsOf = (examples: readonly Example[]) => {
    const found = examples.flatMap(({ scene }, row) => [...new Set(tokenizer.encode(caption(scene, 'full')))].filter((id) => !functionWords.has(id)).map((id) => [row, id]));
    return { rows: tf.tensor1d(found.map(([row]) => row), 'int32'), ids: tf.tensor1d(found.map(([, id]) => id), 'int32') };
  };
  /** Logits of the language model's tokens from the mean patch: cosines with their centred embeddings. [pictures, vocab] */
  const say = (patches: tf.Tensor3D) => tf.matMul(unit(linear(toWords, patches.mean<tf.Tensor2D>(1))), embeddings, false, true).mul<tf.Tensor2D>(wordScale);
  /** Logits of the concepts from the mean patch. [pictures, concepts] */
  const classify = (patches: tf.Tensor3D) => linear(head.concepts, layerNorm(head.norm, patches.mean<tf.Tensor2D>(1), config.vision.normEps));

  return {
    params,
    task: {
      name: 'reading',
      trainable: new Map([...select(params, pictureTower), ...flatten(map, 'map'), ...flatten(head, 'head'), ...flatten(toWords, 'words')]),
      allowUnused: true, // the map to words, before they are asked for
      batch(step) {
        const examples = contrastExamples(seed, 'reading', step, batchSize, numPairs, side);
        const texts = clipTextTokens(examples.map((each) => each.caption), tokenizer, config.text);
        const inputs: Inputs = {
          pixels: clipPixels(examples.map(({ picture }) => picture)),
          texts: tf.tidy(() => clipTextPooled(params, texts, config.text)),
          captions: captionsOf(examples.slice(-numRead)),
          shown: shownIn(examples),
          ...(step >= (settings.words?.from ?? Infinity) ? { words: wordsOf(examples) } : {}),
        };
        texts.dispose();
        return { ids: examples.map(({ id }) => id), inputs };
      },
      loss(inputs) {
        const { pixels, texts, captions, shown, words } = inputs as Inputs;
        const [beforeLast, last] = clipVisionStates(params, pixels, config.vision).slice(-2);
        const scale = { logit_scale: params.logit_scale.minimum(maxLogitScale) as unknown as typeof params.logit_scale };
        const images = projectImages(params, poolImage(params, last, config.vision));
        const contrast = contrastiveLoss(clipLogits(scale, images, projectTexts(params, texts)));
        const patches = beforeLast.slice<tf.Tensor3D>([0, 1, 0], [-1, -1, -1]);
        const reading = lmLoss(read(patches.slice<tf.Tensor3D>([batchSize - numRead, 0, 0], [-1, -1, -1]), captions), captions.labels);
        const naming = crossEntropy(embedding(classify(patches), shown.rows) as tf.Tensor2D, shown.concepts).mean<tf.Scalar>();
        const told = words && crossEntropy(embedding(say(patches), words.rows) as tf.Tensor2D, words.ids).mean<tf.Scalar>();
        const loss = contrast.add<tf.Scalar>(reading).add<tf.Scalar>(naming);
        return { loss: told ? loss.add<tf.Scalar>(told) : loss, contrast, reading, naming, ...(told ? { words: told } : {}) };
      },
    },
    async evaluate() {
      const results = await retrieval(params, config, tokenizer, seed);
      const singles = Array.from({ length: 200 }, (_, i) => sceneAt(seed + 1, i, { split: 'val', axis: 'cell', kinds: { single: 1 } }));
      const hits = tf.tidy(() => {
        const pixels = clipPixels(singles.map((scene) => ({ width: side, height: side, data: renderScene(scene, side) })));
        return classify(clipPatches(params, pixels, config.vision)).argMax(1).equal(tf.tensor1d(singles.map(({ objects: [{ concept }] }) => numberOf.get(concept)!), 'int32')).mean();
      });
      [results.named] = await hits.data();
      hits.dispose();
      for (const axis of ['cell', 'composition', 'concept'] as const) {
        const examples = distinctExamples(seed + 1, 0, 100, { split: 'val', axis }, side);
        const loss = tf.tidy(() => {
          const captions = captionsOf(examples);
          return lmLoss(read(clipPatches(params, clipPixels(examples.map(({ picture }) => picture)), config.vision), captions), captions.labels);
        });
        [results[`${axis}Reading`]] = await loss.data();
        loss.dispose();
      }
      return results;
    },
    dispose: () => tf.dispose([params, map, head, toWords, embeddings, reader.params] as unknown as tf.TensorContainer),
  };
}
