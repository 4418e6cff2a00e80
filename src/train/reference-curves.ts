import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { packageRoot } from '../core/process.js';
import { foundationHash } from './hand-off.js';
import { override, stageSettings } from './overrides.js';
import { readEvents } from './run-folder.js';
import { nano, stageNames, type StageName } from './stages.js';
import { trainStage } from './train-stage.js';

/**
 * The losses that nano's stages showed when the foundation was made. `short`: all four stages, one after the other, three steps each. They are taken
 * again in tests: whatever changes data, layout, losses or kernels shows here.
 */
export interface ReferenceCurves {
  /** Of the foundation that the curves belong to. */
  foundation: string;
  short: Record<StageName, number[]>;
}

export const referenceFile = join(packageRoot(), 'data/foundation/reference-curves.json');
export const readReferenceCurves = (): ReferenceCurves => JSON.parse(readFileSync(referenceFile, 'utf8')) as ReferenceCurves;

const shortSteps = 3;

/** Runs the four stages for three steps each below `root`. */
export async function shortCurves(root: string, foundation = join(packageRoot(), 'data/foundation')): Promise<ReferenceCurves> {
  const short: Partial<Record<StageName, number[]>> = {};
  for (const name of stageNames) {
    const out = join(root, name);
    const settings = override(stageSettings(nano[name]), [`steps=${shortSteps}`, 'microBatchSize=8']);
    const { params } = await trainStage({ preset: 'nano', settings, out, foundation, parents: nano[name].parents.map((parent) => join(root, parent)), validate: false });
    tf.dispose(params);
    short[name] = readEvents(out).filter(({ type }) => type === 'step').map(({ loss }) => loss as number);
  }
  return { foundation: foundationHash(foundation), short: short as Record<StageName, number[]> };
}
