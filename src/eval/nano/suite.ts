import type { Extractor as Network } from '../../models/inception/index.js';
import type { Measurement } from '../protocol.js';
import { measureReconstruction } from './autoencoder.js';
import { measureRetrieval, type ClipJudge } from './clip.js';
import { defaultTestSet, measureCaptioning, measureHallucination, measureMultipleChoice, measureOpenQuestions, type TestSet } from './comprehension.js';
import { drawTestSet, measureDistances, measureIdentification, measurePromptLoss, measurePromptScore, type Drawings } from './creation.js';
import { measureDreamTokens } from './documents.js';
import type { Subject } from './subject.js';

/** Sizes of the test sets, in items. */
export interface SuiteSizes {
  /** Questions of each MMBench ability, each asked once for every option. */
  readonly perAbility: number;
  readonly questions: number;
  readonly captions: number;
  /** Of each POPE split. */
  readonly presence: number;
  readonly documents: number;
  readonly drawings: number;
  readonly steps: number;
  readonly references: number;
  readonly lossPictures: number;
}

/** About a minute and a half for a nano model on two cores. */
export const defaultSizes: SuiteSizes = { perAbility: 6, questions: 160, captions: 96, presence: 100, documents: 64, drawings: 128, steps: 20, references: 384, lossPictures: 64 };

/** For a curve over many models: intervals are wider. */
export const quickSizes: SuiteSizes = { perAbility: 3, questions: 80, captions: 48, presence: 50, documents: 32, drawings: 64, steps: 12, references: 192, lossPictures: 32 };

export interface SuiteOptions {
  readonly sizes?: SuiteSizes;
  readonly testSet?: TestSet;
  /** What is measured; both by default. A model trained for one half is not asked about the other. */
  readonly halves?: readonly ('comprehension' | 'creation')[];
  /** A model that was not tuned to talk captions a picture by writing on behind it. */
  readonly captionStyle?: 'instruct' | 'plain';
  /** The network of FID and KID; without it they are left out. */
  readonly network?: Network;
  /** The CLIP that scores prompts; without it that is left out. */
  readonly clip?: ClipJudge;
  readonly guidanceScale?: number;
  readonly signal?: AbortSignal;
  /** Told each number as it is there, with the seconds it took. */
  readonly onMeasured?: (name: string, measurement: Measurement, seconds: number) => void;
}

export interface SuiteResult {
  /** By name, such as `mmbench.likelihood` or `creation.kid`. */
  readonly measurements: Record<string, Measurement<any>>;
  readonly drawings?: Drawings;
  readonly seconds: number;
}

/** All measurements of one small model on the emoji world's held-out part. */
export async function measureSuite(subject: Subject, options: SuiteOptions = {}): Promise<SuiteResult> {
  const { sizes = defaultSizes, testSet = defaultTestSet, halves = ['comprehension', 'creation'], captionStyle = 'instruct', network, clip, guidanceScale = 2, signal, onMeasured } = options;
  const measurements: Record<string, Measurement<any>> = {};
  const begin = performance.now();
  let last = begin;
  const add = (found: Record<string, Measurement<any>>) => {
    const seconds = (performance.now() - last) / 1000;
    last = performance.now();
    for (const [name, measured] of Object.entries(found)) {
      measurements[name] = measured;
      onMeasured?.(name, measured, seconds);
    }
  };
  if (halves.includes('comprehension')) {
    const { likelihood, generated, blind } = await measureMultipleChoice(subject, { perAbility: sizes.perAbility, testSet, signal });
    add({ 'mmbench.likelihood': likelihood, 'mmbench.generated': generated, 'mmbench.blind': blind });
    add({ vqa: await measureOpenQuestions(subject, { count: sizes.questions, testSet, signal }) });
    add({ cider: await measureCaptioning(subject, { count: sizes.captions, testSet, style: captionStyle, signal }) });
    const { random, popular, adversarial } = await measureHallucination(subject, { count: sizes.presence, testSet, signal });
    add({ 'pope.random': random, 'pope.popular': popular, 'pope.adversarial': adversarial });
    add({ 'dream-tokens': await measureDreamTokens(subject, { count: sizes.documents, testSet, signal }) });
  }
  let drawings: Drawings | undefined;
  if (halves.includes('creation')) {
    add({ 'creation.loss': await measurePromptLoss(subject, { count: sizes.lossPictures, testSet, signal }) });
    drawings = await drawTestSet(subject, { count: sizes.drawings, steps: sizes.steps, guidanceScale, testSet, signal });
    add({ 'creation.identification': measureIdentification(drawings) });
    if (network) {
      const { fid, kid, kidOfReal } = await measureDistances(drawings, network, { referenceCount: sizes.references, testSet, signal });
      add({ 'creation.fid': fid, 'creation.kid': kid, 'creation.kid-of-real': kidOfReal });
    }
    if (clip) add({ 'creation.clip-score': measurePromptScore(drawings, clip) });
  }
  return { measurements, drawings, seconds: (performance.now() - begin) / 1000 };
}

/** What the frozen foundation can do, whatever was trained on top of it. */
export async function measureFoundation(clip: ClipJudge, vae: Parameters<typeof measureReconstruction>[0], { testSet = defaultTestSet, signal }: Pick<SuiteOptions, 'testSet' | 'signal'> = {}): Promise<Record<string, Measurement<any>>> {
  return {
    'foundation.retrieval': measureRetrieval(clip, { split: testSet.split, axis: testSet.axis }),
    'foundation.psnr': await measureReconstruction(vae, clip.config.vision.imageSize, { testSet, signal }),
  };
}
