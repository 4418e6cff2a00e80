import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { nano, stageNames, type Stage } from '../train/stages.js';
import { stageGraph, type StageGraphOptions } from './stage-graph.js';
import { synergyArms } from './synergy.js';

const root = mkdtempSync(join(tmpdir(), 'dreamllm-graph-'));
after(() => rmSync(root, { recursive: true, force: true }));

/** Names of the stages that stage III of a recipe is made of, in the order in which they would be trained; each is marked as done where it would begin. */
async function stagesOf(change: Partial<Stage>, options: Omit<StageGraphOptions, 'folder'> = {}): Promise<string[]> {
  const folder = mkdtempSync(join(root, 'stages-'));
  const graph = stageGraph({ ...options, folder, progress: () => { throw new Error('would train'); } });
  const names: string[] = [];
  for (;;) {
    try {
      await graph.stage('sft', change);
      return names;
    } catch (error) {
      assert.equal((error as Error).message, 'would train');
      const claimed = readdirSync(folder).flatMap((name) => (name.endsWith('.claim') && !existsSync(join(folder, name.slice(0, -6))) ? [name.slice(0, -6)] : []));
      assert.equal(claimed.length, 1);
      names.push(claimed[0]);
      mkdirSync(join(folder, claimed[0]));
      writeFileSync(join(folder, claimed[0], 'result.json'), '{}');
    }
  }
}

const shared = (a: readonly string[], b: readonly string[]) => stageNames.filter((_, i) => a[i] === b[i]);

describe('the stage graph', () => {
  test('asks for stages in the order in which they need each other, and names those of a main job and of a sweep alike', async () => {
    const sweep = await stagesOf({ seed: 0 });
    assert.deepEqual(sweep.map((name) => name.replace(/-[0-9a-f]{16}$/, '')), [...stageNames]);
    assert.deepEqual(await stagesOf({ seed: 0, lossWeights: synergyArms.joint }), sweep);
  });

  test('shares what recipes have in common', async () => {
    const joint = await stagesOf({ seed: 0 });
    const lossWeights = synergyArms['comprehension-only'];
    assert.deepEqual(shared(joint, await stagesOf({ seed: 0 }, { changes: { 'i-gpt': { lossWeights }, sft: { lossWeights } } })), ['alignment-comprehension', 'alignment-creation']);
    assert.deepEqual(shared(joint, await stagesOf({ seed: 0 }, { changes: { sft: { data: { ...nano.sft.data, subjects: 1 } } } })), ['alignment-comprehension', 'alignment-creation', 'i-gpt']);
    assert.deepEqual(shared(joint, await stagesOf({ seed: 0 }, { changes: { 'alignment-creation': { seed: 7 } } })), [...stageNames], 'one seed names a whole recipe');
    assert.deepEqual(shared(joint, await stagesOf({ seed: 1 })), []);
    assert.deepEqual(shared(joint, await stagesOf({ seed: 0 }, { config: { numDreamQueries: 4 } })), []);
  });
});
