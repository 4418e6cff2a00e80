import * as tf from '@tensorflow/tfjs';
import { nano } from '../../dreamllm/presets.js';
import { drawDocuments, pagesProtocol, pagesWith, picturesOf } from '../../eval/nano/document-pictures.js';
import { measureIdentification, type Drawings } from '../../eval/nano/creation.js';
import type { Measurement } from '../../eval/protocol.js';
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
          async run(subject, { from }, how) {
            const { sizes, signal } = how;
            const drawings = from === 'document' ? await drawDocuments(subject, { count: sizes.pictures, guidanceScale, signal }) : await drawSentences(how);
            const measured: Measurement[] = [...(await measureDrawingDistances(drawings, signal)), measureIdentification(drawings)];
            return withSamples(measured, drawings);
          },
        },
      },
    },
    options,
  );

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
