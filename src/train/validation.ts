import * as tf from '@tensorflow/tfjs';
import { covers } from '../core/params.js';
import { pairAt } from '../data/captions.js';
import { documentAt } from '../data/documents.js';
import { conversationAt, instructInterleavedAt } from '../data/instructions.js';
import type { TrainingRecord } from '../data/samples.js';
import type { DreamConfig } from '../dreamllm/config.js';
import { dreamLoss } from '../dreamllm/loss.js';
import type { DreamParams } from '../dreamllm/model.js';
import type { Tokenizer } from '../text/tokenizer.js';
import type { StageSettings } from './overrides.js';
import { gradientConflict } from './conflict.js';
import { objectiveOf, stageInputs } from './train-stage.js';

/** Equal stretches of time steps in which the diffusion loss is told apart. */
const bins = 4;
/** Held-out records of each kind that the stage trains on. */
const recordsOfAKind = 4;

/**
 * Both losses on held-out records with noise and time steps that never change, so that two values differ by the model alone. The diffusion loss is
 * also given for each quarter of the time steps: its mean hides what is learned at high noise, where a picture's content is decided. Stages that train
 * the language model on both losses also report whether the two gradients agree. `given`: held-out records in place of those of the emoji world; undefined where
 * there are neither, because the data comes from elsewhere.
 */
export function stageValidation(
  params: DreamParams, config: DreamConfig, settings: StageSettings, tokenizer: Tokenizer, given?: readonly TrainingRecord[],
): (() => Promise<Record<string, number>>) | undefined {
  const make: Record<string, (index: number) => TrainingRecord> = {
    pairs: (index) => pairAt(0, index, { split: 'val' }),
    documents: (index) => documentAt(0, index, { split: 'val' }),
    conversations: (index) => conversationAt(0, index, { split: 'val' }),
    'instruct-documents': (index) => instructInterleavedAt(0, index, { split: 'val' }),
  };
  const kinds = Object.keys(settings.data).filter((name) => make[name]);
  const records = given ?? kinds.flatMap((kind) => Array.from({ length: recordsOfAKind }, (_, i) => make[kind](i)));
  if (records.length === 0) return undefined;
  // Both losses of DreamLLM, also where a stage is trained on another one.
  const { regression, ...lossWeights } = settings.lossWeights;
  const objective = objectiveOf({ ...settings, lossWeights });
  return async () => {
    const results: Record<string, number> = {};
    const inputs = await stageInputs(records, { params, config, settings: { ...settings, seed: 0 }, tokenizer, objective, path: ['validation'] });
    const { batch, draws } = inputs;
    const evaluate = async (timesteps: number[] | undefined) => {
      const losses = dreamLoss(params, config, batch, draws && timesteps ? { ...draws, timesteps } : draws, objective);
      const values = [(await losses.lm.data())[0], (await losses.diffusion.data())[0]];
      tf.dispose(Object.values(losses));
      return values;
    };
    if (draws) {
      const count = draws.timesteps.length;
      const width = config.sampler.numTrainTimesteps / bins;
      for (let bin = 0; bin < bins; bin++) {
        const [lm, diffusion] = await evaluate(Array.from({ length: count }, (_, i) => Math.floor(width * (bin + (i + 0.5) / count))));
        results.valLm = lm;
        results[`valDiffusion${Math.round(bin * width)}`] = diffusion;
        results.valDiffusion = (results.valDiffusion ?? 0) + diffusion / bins;
      }
    } else [results.valLm] = await evaluate(undefined);
    // By the weights of the training; one that regresses instead is judged by what it is for. Where no picture is drawn, the language counts alone.
    results.valLoss = lossWeights.lm * results.valLm + (lossWeights.diffusion || regression || 0) * (results.valDiffusion ?? 0);
    if (draws && settings.lossWeights.lm > 0 && settings.trainable.some((prefix) => covers(prefix, 'model.layers'))) {
      Object.assign(results, await gradientConflict(params, config, batch, draws, objective));
    }
    tf.dispose([batch, draws] as unknown as tf.TensorContainer);
    return results;
  };
}
