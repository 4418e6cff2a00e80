import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { override, stageSettings } from './overrides.js';
import { nano, stageNames, type StageName } from './stages.js';
import { trainStage } from './train-stage.js';

/**
 * Trains micro through all four stages below `root`, going on where an earlier process stopped. Stages that are finished are left alone. A process of
 * its own can run it (`node four-stages.js ROOT`), to be killed at any moment.
 */
export async function trainFourStages(root: string, changes: readonly string[] = []): Promise<void> {
  for (const name of stageNames) {
    const out = join(root, name);
    if (existsSync(join(out, 'result.json'))) continue;
    const { params } = await trainStage({
      preset: 'micro',
      settings: microSettings(name, changes),
      out,
      parents: nano[name].parents.map((parent) => join(root, parent)),
      resume: existsSync(join(out, 'config.json')),
      validate: false,
    });
    tf.dispose(params);
  }
}

/** A stage of nano's recipe, as short as a test wants it. */
export const microSettings = (name: StageName, changes: readonly string[] = []) =>
  override(stageSettings(nano[name]), ['microBatchSize=2', 'maxTokens=128', 'steps=6', 'checkpointEvery=2', ...changes]);
