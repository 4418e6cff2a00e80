import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { packageRoot } from '../core/process.js';
import { foundationHash } from './hand-off.js';
import { override, stageSettings } from './overrides.js';
import type { ReferenceCurves } from './reference-curves.js';
import { readEvents } from './run-folder.js';
import { nano, stageNames, type StageName } from './stages.js';
import { trainStage } from './train-stage.js';

const shortSteps = 3;
const shortTolerance = 0.01;

/** Runs the four stages for three steps each below `root`. */
export async function shortCurves(root: string, foundation = join(packageRoot(), 'data/foundation')): Promise<Omit<ReferenceCurves, 'full'>> {
  const losses: Partial<Record<StageName, number[]>> = {};
  for (const name of stageNames) {
    const out = join(root, name);
    const settings = override(stageSettings(nano[name]), [`steps=${shortSteps}`, 'microBatchSize=8']);
    const { params } = await trainStage({ preset: 'nano', settings, out, foundation, parents: nano[name].parents.map((parent) => join(root, parent)), validate: false });
    tf.dispose(params);
    losses[name] = readEvents(out).filter(({ type }) => type === 'step').map(({ loss }) => loss as number);
  }
  return { foundation: foundationHash(foundation), short: { tolerance: shortTolerance, losses: losses as Record<StageName, number[]> } };
}
