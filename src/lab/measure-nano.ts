import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { loadParams, openCheckpoint } from '../core/checkpoint.js';
import type { RgbImage } from '../core/images.js';
import { initialize, type Params } from '../core/params.js';
import { packageRoot } from '../core/process.js';
import { nanoTokenizer } from '../data/tokenizer.js';
import { residentModel, type DreamModel } from '../dreamllm/model.js';
import { nano, nanoClip } from '../dreamllm/presets.js';
import { loadNetwork } from '../eval/extractors.js';
import { measureReconstruction } from '../eval/nano/autoencoder.js';
import { measureRetrieval, type ClipJudge } from '../eval/nano/clip.js';
import { measureCaptioning, measureHallucination, measureMultipleChoice, measureOpenQuestions } from '../eval/nano/comprehension.js';
import { drawTestSet, measureDistances, measureIdentification, measurePromptLoss, measurePromptScore, type Drawings } from '../eval/nano/creation.js';
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
  signal?: AbortSignal;
  /** Told the drawn pictures, for sheets and reports. */
  onDrawings?(drawings: Drawings): unknown;
}

/** Pictures of the distance metrics: more than the 192 dimensions of their features, so that covariances have full rank. */
const pictureCount = 256;
const extractor = 'inception-pool2';

/** Loads a finished nano stage for use; the caller disposes with `dispose`. */
export function openNano(stageFolder: string): Subject & { dispose(): void } {
  const { params } = loadStage(stageFolder, nano);
  return { ...subjectOf(residentModel(params, nano)), dispose: () => tf.dispose(params) };
}

const subjectOf = (model: DreamModel): Subject => ({ model, tokenizer: nanoTokenizer(), modelScale: 'nano' });

/** The foundation's CLIP as a judge. Its picture tower is also what DreamLLM reads pictures with, which its name says. */
export function nanoClipJudge(folder = join(packageRoot(), 'data/foundation')): ClipJudge & { dispose(): void } {
  const source = openCheckpoint(join(folder, 'clip.safetensors'));
  try {
    const params = loadParams(clipSpec(nanoClip), source);
    return { params, config: nanoClip, tokenizer: nanoTokenizer(), name: 'nano CLIP (the foundation, trained here)', dispose: () => tf.dispose(params) };
  } finally {
    source.close();
  }
}

export async function measureComprehension(subject: Subject, { signal }: MeasureOptions = {}): Promise<Measurement[]> {
  const choice = await measureMultipleChoice(subject, { signal });
  return [
    choice.likelihood,
    choice.generated,
    choice.blind,
    await measureOpenQuestions(subject, { signal }),
    await measureCaptioning(subject, { signal }),
    ...Object.values(await measureHallucination(subject, { signal })),
    await measureDreamTokens(subject, { signal }),
  ];
}

export async function measureCreation(subject: Subject, { signal, onDrawings }: MeasureOptions = {}): Promise<Measurement[]> {
  const drawings = await drawTestSet(subject, { count: pictureCount, signal });
  await onDrawings?.(drawings);
  return [...(await measureDrawings(drawings, signal)), await measurePromptLoss(subject, { signal })];
}

async function measureDrawings(drawings: Drawings, signal?: AbortSignal): Promise<Measurement[]> {
  const network = await loadNetwork(extractor);
  const judge = nanoClipJudge();
  try {
    const { fid, kid, kidOfReal } = await measureDistances(drawings, network, { signal });
    return [fid, kid, { ...kidOfReal, metric: 'kid of real pictures' }, measureIdentification(drawings), measurePromptScore(drawings, judge)];
  } finally {
    network.dispose();
    judge.dispose();
  }
}

/** What the foundation can do before DreamLLM is built on it, with an untrained U-Net beside it. */
export async function measureFoundation({ signal, onDrawings }: MeasureOptions = {}): Promise<{ autoencoder: Measurement; retrieval: Measurement; unet: Measurement[]; untrained: Measurement[] }> {
  const params = loadFoundation(nano, join(packageRoot(), 'data/foundation'), 0);
  const judge = nanoClipJudge();
  const untrainedUNet = initialize(unetSpec(nano.unet), 0, 'untrained') as Params<ReturnType<typeof unetSpec>>;
  try {
    const { vae, unet } = params.stable_diffusion_head;
    const drawings = await drawFromText({ unet, vae, judge }, { count: pictureCount, signal });
    await onDrawings?.(drawings);
    const untrained = await drawFromText({ unet: untrainedUNet, vae, judge }, { count: pictureCount, signal });
    return {
      autoencoder: await measureReconstruction({ params: vae, config: nano.vae }, nano.imageSize, { signal }),
      retrieval: measureRetrieval(judge),
      unet: await measureDrawings(drawings, signal),
      untrained: await measureDrawings(untrained, signal),
    };
  } finally {
    tf.dispose([params, untrainedUNet] as unknown as tf.TensorContainer);
    judge.dispose();
  }
}

/** The first pictures of drawings, true ones above what was drawn. */
export const sheetRows = ({ real, drawn }: Drawings, count: number): RgbImage[] => [...real.slice(0, count), ...drawn.slice(0, count)];


/** FID, KID and CLIP score of pictures drawn at one guidance scale: a point of the curve. Fewer pictures than the main measurement, and said so. */
export async function measureGuidanceScale(subject: Subject, guidanceScale: number, signal?: AbortSignal): Promise<Measurement[]> {
  const drawings = await drawTestSet(subject, { count: 200, guidanceScale, signal });
  return measureDrawings(drawings, signal);
}
