import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { openCheckpoint } from '../core/checkpoint.js';
import { useLaterBackend } from '../core/engine/test-backends.js';
import { flatten } from '../core/params.js';
import { microSettings } from './four-stages.js';
import { nano, stageNames } from './stages.js';
import { trainStage } from './train-stage.js';

describe('where values must be waited for, as on WebGPU', () => {
  let root: string;
  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'dreamllm-later-'));
    await useLaterBackend();
  });
  after(() => rmSync(root, { recursive: true }));

  test('all four stages train, measure, keep an average, make checkpoints and hand over', async () => {
    for (const name of stageNames) {
      const out = join(root, name);
      const settings = microSettings(name, ['steps=2', 'checkpointEvery=1', 'evaluateEvery=1', 'emaDecay=0.9']);
      const parents = nano[name].parents.map((parent) => join(root, parent));
      const { params } = await trainStage({ preset: 'micro', settings, out, parents, resume: false, validate: true });
      const saved = openCheckpoint(join(out, 'checkpoints/final/model.safetensors'));
      assert.equal(saved.tensors.size, flatten(params).size, name);
      saved.close();
      tf.dispose(params);
    }
  });
});
