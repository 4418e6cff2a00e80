import * as tf from '@tensorflow/tfjs';
import { initialize } from '../../core/params.js';
import { random } from '../../core/random.js';
import { drawFrom, namedSampler } from '../../dreamllm/create.js';
import { dreamSpec, residentModel } from '../../dreamllm/model.js';
import { preset } from '../../dreamllm/presets.js';
import { clipImagePooled, clipVisionSpec } from '../../models/clip/index.js';

import { imagenetExtractor } from '../../models/inception/index.js';
import { Training, trainStep } from '../../train/loop.js';
import { stageSettings } from '../../train/overrides.js';
import { generatedSources } from '../../train/sources.js';
import { nano, type StageName } from '../../train/stages.js';
import { loopSettings, stageTask } from '../../train/train-stage.js';
import type { Workload } from './transformer.js';

// Weights are random, which changes no time.

/** Whole steps of one of nano's stages as `train` takes them: making the batch, frozen encoders, both losses, clipping and AdamW. */
export function stageTraining(name: StageName): Workload {
  const settings = stageSettings(nano[name]);
  const config = { ...preset('nano'), maxTokens: settings.maxTokens };
  const params = initialize(dreamSpec(config), 0);
  const training = new Training(stageTask(params, config, 'nano', settings, generatedSources(settings.data, settings.seed)), loopSettings(settings));
  return {
    async step() {
      await trainStep(training);
      training.step++;
    },
    dispose() {
      training.dispose();
      tf.dispose(params as never);
    },
  };
}

/** Pictures drawn by nano's diffusion head from states at the dream queries, with guidance, decoded. */
export function drawing(pictures: number, steps: number): Workload {
  const config = preset('nano');
  const params = initialize(dreamSpec(config), 0);
  const shape: [number, number, number] = [pictures, config.numDreamQueries, config.language.hiddenSize];
  const states = tf.tensor3d(random(0, 'bench', 'states').normals(shape.reduce((a, b) => a * b)), shape);
  const negative = tf.zeros<tf.Rank.R3>([1, ...shape.slice(1)] as [number, number, number]);
  const seeds = Array.from({ length: pictures }, (_, i) => i);
  return {
    async step() {
      const drawn = await drawFrom(residentModel(params, config), states, negative, seeds, { sampler: namedSampler(config, 'ddim', steps), guidanceScale: 2 });
      await drawn.data();
      drawn.dispose();
    },
    dispose: () => tf.dispose([params, states, negative] as never),
  };
}

/** Rows of the embedded Inception for FID, from pictures of nano's size. */
export function fidFeatures(pictures: number): Workload {
  const extractor = imagenetExtractor();
  const stream = random(0, 'bench', 'pictures');
  const images = Array.from({ length: pictures }, () => ({ width: 32, height: 32, data: Uint8Array.from({ length: 32 * 32 * 3 }, () => stream.integer(256)) }));
  return {
    async step() {
      const rows = extractor.rows(images);
      await rows.data();
      rows.dispose();
    },
    dispose: () => extractor.dispose(),
  };
}

/** Pictures through nano's CLIP. */
export function clipEncoding(pictures: number): Workload {
  const { vision } = preset('nano');
  const params = initialize(clipVisionSpec(vision), 0);
  const shape: [number, number, number, number] = [pictures, vision.imageSize, vision.imageSize, 3];
  const pixels = tf.tensor4d(random(0, 'bench', 'pixels').normals(shape.reduce((a, b) => a * b)), shape);
  return {
    async step() {
      const pooled = clipImagePooled(params, pixels, vision);
      await pooled.data();
      pooled.dispose();
    },
    dispose: () => tf.dispose([params, pixels] as never),
  };
}
