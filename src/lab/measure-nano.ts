import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { loadParams, openCheckpoint } from '../core/checkpoint.js';
import type { RgbImage } from '../core/images.js';
import { initialize, type Params } from '../core/params.js';
import { packageRoot } from '../core/process.js';
import { nanoTokenizer } from '../data/tokenizer.js';
import type { DreamConfig } from '../dreamllm/config.js';
import { residentModel, type DreamModel } from '../dreamllm/model.js';
import { nano, nanoClip } from '../dreamllm/presets.js';
import { loadNetwork } from '../eval/extractors.js';
import { measureReconstruction } from '../eval/nano/autoencoder.js';
import { measureRetrieval, type ClipJudge } from '../eval/nano/clip.js';
import { measureCaptioning, measureHallucination, measureMultipleChoice, measureOpenQuestions } from '../eval/nano/comprehension.js';
import {
  drawTestSet, evaluationGuidance, measureDistances, measureIdentification, measurePromptLoss, measurePromptScore, realFeatures, type Drawings,
} from '../eval/nano/creation.js';
import { measureDreamTokens } from '../eval/nano/documents.js';
import type { Subject } from '../eval/nano/subject.js';
import type { Measurement } from '../eval/protocol.js';
import { clipSpec } from '../models/clip/index.js';
import { unetSpec } from '../models/diffusion/index.js';
import { loadFoundation, loadStage } from '../train/hand-off.js';
import { drawFromText } from './foundation-drawings.js';

/** Everything that the main job measures on one model. Counts are chosen for a minute or two on two cores. */
export interface NanoMeasurements {
  comprehension: Measurement[];
  creation: Measurement[];
}

export interface MeasureOptions {
  sizes?: Sizes;
  /** Folder of the foundation. Default: data/foundation. */
  foundation?: string;
  signal?: AbortSignal;
  /** Told the drawn pictures, for sheets and reports. */
  onDrawings?(drawings: Drawings): unknown;
}

/** How much is measured. */
export interface Sizes {
  /** Pictures drawn for the distance metrics. */
  pictures: number;
  /** Multiple-choice questions of each of the 20 abilities. */
  perAbility: number;
  /** Open questions; captions, documents and so on are a fraction of them. */
  questions: number;
}

/** More pictures than the 192 dimensions of their features, so that covariances have full rank. */
export const fullSizes: Sizes = { pictures: 256, perAbility: 24, questions: 300 };
/** Enough to see that everything runs; no number of it means anything. */
export const smokeSizes: Sizes = { pictures: 8, perAbility: 1, questions: 8 };

const extractor = 'inception-pool2';

/** Loads a finished nano stage for use, or that of a model that has some things otherwise than nano; the caller disposes with `dispose`. */
export function openNano(stageFolder: string, changes: Partial<DreamConfig> = {}): Subject & { dispose(): void } {
  const config = { ...nano, ...changes };
  const { params } = loadStage(stageFolder, config);
  return { ...subjectOf(residentModel(params, config)), dispose: () => tf.dispose(params) };
}

const subjectOf = (model: DreamModel): Subject => ({ model, tokenizer: nanoTokenizer(), modelScale: 'nano' });

const committedFoundation = () => join(packageRoot(), 'data/foundation');

/** The foundation's CLIP as a judge. Its picture tower is also what DreamLLM reads pictures with, which its name says. */
export function nanoClipJudge(folder = committedFoundation()): ClipJudge & { dispose(): void } {
  const source = openCheckpoint(join(folder, 'clip.safetensors'));
  try {
    const params = loadParams(clipSpec(nanoClip), source);
    return { params, config: nanoClip, tokenizer: nanoTokenizer(), name: 'nano CLIP (the foundation, trained here)', dispose: () => tf.dispose(params) };
  } finally {
    source.close();
  }
}

export async function measureComprehension(subject: Subject, { sizes = fullSizes, signal }: MeasureOptions = {}): Promise<Measurement[]> {
  const choice = await measureMultipleChoice(subject, { perAbility: sizes.perAbility, signal });
  const third = Math.ceil(sizes.questions / 3);
  return [
    choice.likelihood,
    choice.generated,
    choice.blind,
    await measureOpenQuestions(subject, { count: sizes.questions, signal }),
    await measureCaptioning(subject, { count: third, signal }),
    ...Object.values(await measureHallucination(subject, { count: third, signal })),
    await measureDreamTokens(subject, { count: third, signal }),
  ];
}

export async function measureCreation(subject: Subject, options: MeasureOptions = {}): Promise<Measurement[]> {
  const { creation } = await measureCreationAtScales(subject, [], options);
  return creation;
}

/** FID, KID, identification and CLIP score of pictures drawn at one guidance scale. */
export interface GuidancePoint {
  scale: number;
  measurements: Measurement[];
}

/**
 * Creation at the scale that it is reported at, and a curve of this and other `scales`: the same prompts drawn from the same noise. What no scale changes, the
 * empty prompt's pictures and the features of the true ones, is computed once. `onDrawings` is told the pictures of the reported scale.
 */
export async function measureCreationAtScales(
  subject: Subject, scales: readonly number[], { sizes = fullSizes, foundation, signal, onDrawings }: MeasureOptions = {},
): Promise<{ creation: Measurement[]; guidance: GuidancePoint[] }> {
  const common = { count: sizes.pictures, signal };
  const reported = await drawTestSet(subject, common);
  await onDrawings?.(reported);
  const others = scales.filter((scale) => scale !== evaluationGuidance);
  const drawings = [reported];
  for (const guidanceScale of others) drawings.push(await drawTestSet(subject, { ...common, guidanceScale, unprompted: reported.unprompted }));
  const measured = await measureAllDrawings(drawings, foundation, signal);
  const guidance = [evaluationGuidance, ...others].map((scale, i) => ({ scale, measurements: measured[i] })).sort((a, b) => a.scale - b.scale);
  return { creation: [...measured[0], await measurePromptLoss(subject, { count: Math.ceil(sizes.pictures / 2), signal })], guidance };
}

/** Distances to real pictures, identification and CLIP score of what was drawn. */
export async function measureDrawings(drawings: Drawings, foundation?: string, signal?: AbortSignal): Promise<Measurement[]> {
  const [measured] = await measureAllDrawings([drawings], foundation, signal);
  return measured;
}

/** The same of several drawings for the same true pictures. */
async function measureAllDrawings(all: readonly Drawings[], foundation?: string, signal?: AbortSignal): Promise<Measurement[][]> {
  const distances = await measureAllDistances(all, signal);
  const judge = nanoClipJudge(foundation);
  try {
    const measured: Measurement[][] = [];
    for (const [i, drawings] of all.entries()) measured.push([...distances[i], measureIdentification(drawings), await measurePromptScore(drawings, judge)]);
    return measured;
  } finally {
    judge.dispose();
  }
}

/** Distances alone, of drawings that have no picture of the empty prompt beside them. */
export async function measureDrawingDistances(drawings: Drawings, signal?: AbortSignal): Promise<Measurement[]> {
  const [measured] = await measureAllDistances([drawings], signal);
  return measured;
}

async function measureAllDistances(all: readonly Drawings[], signal?: AbortSignal): Promise<Measurement[][]> {
  const network = await loadNetwork(extractor);
  try {
    const real = await realFeatures(all[0], network, { signal });
    const measured: Measurement[][] = [];
    for (const drawings of all) {
      const { fid, kid, kidOfReal } = await measureDistances(drawings, real, network, signal);
      measured.push([fid, kid, { ...kidOfReal, metric: 'kid of real pictures' }]);
    }
    return measured;
  } finally {
    network.dispose();
  }
}

/** What the foundation can do before DreamLLM is built on it, with an untrained U-Net beside it. */
export async function measureFoundation({ sizes = fullSizes, foundation = committedFoundation(), signal, onDrawings }: MeasureOptions = {}): Promise<{ autoencoder: Measurement; retrieval: Measurement; unet: Measurement[]; untrained: Measurement[] }> {
  const params = loadFoundation(nano, foundation, 0);
  const judge = nanoClipJudge(foundation);
  const untrainedUNet = initialize(unetSpec(nano.unet), 0, 'untrained') as Params<ReturnType<typeof unetSpec>>;
  try {
    const { vae, unet } = params.stable_diffusion_head;
    const drawings = await drawFromText({ unet, vae, judge }, { count: sizes.pictures, signal });
    await onDrawings?.(drawings);
    const untrained = await drawFromText({ unet: untrainedUNet, vae, judge }, { count: sizes.pictures, signal });
    const [ofTrained, ofUntrained] = await measureAllDrawings([drawings, untrained], foundation, signal);
    return {
      autoencoder: await measureReconstruction({ params: vae, config: nano.vae }, nano.imageSize, { signal }),
      retrieval: await measureRetrieval(judge),
      unet: ofTrained,
      untrained: ofUntrained,
    };
  } finally {
    tf.dispose([params, untrainedUNet] as unknown as tf.TensorContainer);
    judge.dispose();
  }
}

/** The first pictures of drawings, true ones above what was drawn. */
export const sheetRows = ({ real, drawn }: Drawings, count: number): RgbImage[] => [...real.slice(0, count), ...drawn.slice(0, count)];
