import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { batchSize, nano, paper, released, stageNames, stagesTable, stepsOf } from './stages.js';

describe('the stages', () => {
  test('take the numbers of steps that the paper implies', () => {
    assert.deepEqual(stageNames.map((name) => stepsOf(paper[name])), [29_842, 29_297, 3_907, 352]);
    assert.equal(batchSize(paper.sft), 1024);
  });

  test('train the same parts in every set', () => {
    for (const name of stageNames) {
      assert.deepEqual(nano[name].trainable, paper[name].trainable);
      assert.deepEqual(released[name].trainable, paper[name].trainable);
      assert.deepEqual(nano[name].lossWeights, released[name].lossWeights);
    }
    assert.deepEqual(paper['alignment-creation'].trainable, ['model.dream_embedding.dream_queries', 'stable_diffusion_head.projector']);
  });

  test('are told apart by a table of what differs', () => {
    const rows = stagesTable({ paper, released });
    assert.deepEqual(
      rows.find(({ stage, setting }) => stage === 'sft' && setting === 'length'),
      { stage: 'sft', setting: 'length', paper: '3 epochs', released: '1 epoch' },
    );
    assert.ok(!rows.some(({ setting }) => setting === 'trainable' || setting === 'learning rate'));
    assert.deepEqual(stagesTable({ paper, again: paper }), []);
  });
});
