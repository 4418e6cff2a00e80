import * as tf from '@tensorflow/tfjs';
import { caption } from '../../data/captions.js';
import { nano } from '../../dreamllm/presets.js';
import { embedPictures, embedTexts, type ClipJudge } from '../../eval/nano/clip.js';
import { drawDocuments, pagesProtocol, pagesWith, picturesOf } from '../../eval/nano/document-pictures.js';
import { measureIdentification, type Drawings } from '../../eval/nano/creation.js';
import { measurement, type Measurement } from '../../eval/protocol.js';
import { mean, pairedTest, type PairedTest } from '../../eval/statistics.js';
import { loadFoundation } from '../../train/hand-off.js';
import { drawFromText } from '../foundation-drawings.js';
import { measureDrawingDistances, nanoClipJudge } from '../measure-nano.js';
import type { DeclaredTable } from '../paper-tables.js';
import { nanoSweep, type MeasuringOptions, type NanoOptions } from './nano.js';
import { withSamples } from './samples.js';

type DocumentConfig = {
  /** `document`: DreamLLM, from all that stands before the picture. `sentence`: the text-conditioned U-Net, from the sentence that the picture belongs to. */
  from: 'document' | 'sentence';
};

const guidanceScale = 2;

/** Section 4.3 of the paper: pictures of held-out documents, drawn in their place or from the matched text alone. */
export const documentPictures = (options?: NanoOptions) =>
  nanoSweep<DocumentConfig>(
    {
      name: 'document-pictures',
      question: 'Are the pictures of a document better when they are drawn from all that stands before them?',
      base: { from: 'document' },
      grid: { from: ['document', 'sentence'] },
      seeds: [0, 1, 2],
      secondsPerTrial: 60,
      measurements: {
        creation: {
          version: 2,
          async run(subject, { from }, how) {
            const { sizes, foundation, signal } = how;
            const drawings = from === 'document' ? await drawDocuments(subject, { count: sizes.pictures, guidanceScale, signal }) : await drawSentences(how);
            const measured: Measurement[] = [...(await measureDrawingDistances(drawings, signal)), measureIdentification(drawings)];
            const judge = nanoClipJudge(foundation);
            try {
              measured.push(await measureMatch(drawings, drawings.prompts, 'the matched sentence', judge), await measureMatch(drawings, drawings.scenes.map((scene) => caption(scene, 'full')), 'full caption', judge));
            } finally {
              judge.dispose();
            }
            return withSamples(measured, drawings);
          },
        },
      },
    },
    options,
  );

/**
 * Whether pictures match their own texts better than those of others: the CLIP score of each picture with its text, less the mean of its scores with the texts
 * of all other pictures, picture by picture.
 */
export async function measureMatch({ drawn, protocol }: Pick<Drawings, 'drawn' | 'protocol'>, texts: readonly string[], captionPolicy: string, judge: ClipJudge): Promise<Measurement<PairedTest & { matched: number; mismatched: number }>> {
  const dim = judge.config.projectionSize;
  const [pictures, words] = [await embedPictures(judge, drawn), await embedTexts(judge, texts)];
  const score = (i: number, j: number) => {
    let product = 0;
    for (let c = 0; c < dim; c++) product += pictures[i * dim + c] * words[j * dim + c];
    return 100 * product;
  };
  const matched = drawn.map((_, i) => score(i, i));
  const mismatched = drawn.map((_, i) => mean(texts.flatMap((text, j) => (text === texts[i] ? [] : [score(i, j)]))));
  const test = pairedTest(mismatched, matched, 'pictures');
  return measurement({
    metric: 'clip-match', value: test.difference, n: drawn.length, ci: test.ci,
    protocol: { ...protocol, captionPolicy, size: drawn.length, extractor: judge.name, formula: '100 cosine, own text less the mean over other texts' },
    details: { ...test, matched: mean(matched), mismatched: mean(mismatched) },
  });
}

async function drawSentences({ sizes, foundation, signal }: MeasuringOptions): Promise<Drawings> {
  const wanted = picturesOf(pagesWith(sizes.pictures));
  const params = loadFoundation(nano, foundation, 0);
  const judge = nanoClipJudge(foundation);
  try {
    const { unet, vae } = params.stable_diffusion_head;
    const scenes = wanted.map(({ scene }) => scene);
    const made = await drawFromText({ unet, vae, judge }, { count: scenes.length, scenes, texts: wanted.map(({ sentence }) => sentence), guidanceScale, unprompted: false, signal });
    return { ...made, prompts: wanted.map(({ sentence }) => sentence), protocol: { ...made.protocol, ...pagesProtocol, captionPolicy: 'the matched sentence' } };
  } finally {
    tf.dispose(params as unknown as tf.TensorContainer);
    judge.dispose();
  }
}

const row = (label: DocumentConfig['from'], method: string, against?: string) => ({
  label, paper: { method, benchmark: 'InstructMMC4 held-out documents', metric: 'FID' }, where: { from: label }, metric: 'fid', higherIsBetter: false, ...(against ? { against } : {}),
});

export const documentTable: DeclaredTable = {
  sweeps: ['document-pictures'], title: 'Pictures of documents', paperTable: 'text_numbers', paperModel: '7B', projectModel: 'nano, pages of the emoji world',
  counterparts: [row('sentence', 'Stable Diffusion v2.1'), row('document', 'DreamLLM-7B', 'sentence')],
};
