import { initialize } from '../../core/params.js';
import { dreamSpec } from '../../dreamllm/model.js';
import { preset } from '../../dreamllm/presets.js';
import { Training, trainStep } from '../../train/loop.js';
import { generatedSources } from '../../train/sources.js';
import { stageSettings } from '../../train/overrides.js';
import { nano, type StageName } from '../../train/stages.js';
import { loopSettings, stageTask } from '../../train/train-stage.js';
import * as tf from '@tensorflow/tfjs';
import type { Workload } from './transformer.js';

/**
 * Whole steps of a stage of nano as `train` takes them: generating the batch, the frozen encoders, both losses, clipping and AdamW. The weights are
 * random, which changes no time.
 */
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
    flops: 0,
    dispose() {
      training.dispose();
      tf.dispose(params);
    },
  };
}
