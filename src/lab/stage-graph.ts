import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../core/process.js';
import { foundationHash } from '../train/hand-off.js';
import { stageSettings, type StageSettings } from '../train/overrides.js';
import type { Progress } from '../train/progress.js';
import { nano, type Stage, type StageName } from '../train/stages.js';
import { trainStage } from '../train/train-stage.js';
import { dispose } from '@tensorflow/tfjs';
import { codeVersion, contentHash } from './content-hash.js';
import { readJson } from './files.js';
import { onceForAll } from './once.js';
import type { DreamConfig } from '../dreamllm/config.js';

/**
 * Trainings by content: a stage is named by its settings, its parents, the foundation and the code that trains, and is trained once for
 * all who ask for it. An interrupted one goes on from its last checkpoint.
 */
export interface StageGraph {
  /** Folder of the finished stage, after training it if need be. */
  stage(name: StageName, change?: Partial<Stage>): Promise<string>;
}

export interface StageGraphOptions {
  /** Folder that holds the runs. */
  folder: string;
  signal?: AbortSignal;
  progress?: (label: string, steps: number) => Progress;
  foundation?: string;
  /** What the code that trains is called, where several processes must agree although files change meanwhile. Default: its hash now. */
  code?: string;
  /** Steps of every stage in place of its own, to see that a recipe runs. */
  steps?: number;
  /** What this recipe has otherwise than nano's stages. */
  changes?: Readonly<Partial<Record<StageName, Partial<Stage>>>>;
  /** What its model has otherwise than nano. */
  config?: Partial<DreamConfig>;
}

export function stageGraph({ folder, signal, progress, foundation = join(packageRoot(), 'data/foundation'), code = codeVersion(), steps, changes = {}, config }: StageGraphOptions): StageGraph {
  const origin = { foundation: foundationHash(foundation), code };
  return {
    async stage(name, change = {}) {
      const settings: StageSettings = stageSettings({ ...nano[name], ...changes[name], ...change, ...(steps === undefined ? {} : { length: { steps } }) });
      // What a later stage changes does not reach back, but its seed does: one seed names a whole recipe.
      const parents: string[] = [];
      for (const parent of settings.parents) parents.push(await this.stage(parent, changeOfParent(name, parent, change)));
      const out = join(folder, `${name}-${contentHash({ settings, parents: parents.map((path) => path.split('-').at(-1)), origin, config })}`);
      if (readJson(join(out, 'result.json'))) return out;
      mkdirSync(folder, { recursive: true });
      await onceForAll(out, { signal }, async () => {
        const bar = progress?.(name, 'steps' in settings.length ? settings.length.steps : 0);
        const { params } = await trainStage({ preset: 'nano', settings, config, out, parents, resume: existsSync(join(out, 'config.json')), foundation, signal, progress: bar });
        dispose(params);
        bar?.end();
      });
      return out;
    },
  };
}

/** Stage I is what both losses have in common, so only the seed of a change reaches it; stage III asks of stage II what it is asked itself. */
function changeOfParent(name: StageName, parent: StageName, { seed, lossWeights }: Partial<Stage>): Partial<Stage> {
  return { ...(seed === undefined ? {} : { seed }), ...(name === 'sft' && parent === 'i-gpt' && lossWeights ? { lossWeights } : {}) };
}
