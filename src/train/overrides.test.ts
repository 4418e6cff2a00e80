import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { override, stageSettings } from './overrides.js';
import { nano, stepsOf } from './stages.js';

describe('settings from key=value', () => {
  const settings = stageSettings(nano.sft);

  test('change what they name and leave the rest', () => {
    const changed = override(settings, ['steps=7', 'learningRate=0.001', 'lossWeights.diffusion=5', 'mode=creation', 'data.pairs=3', 'snrGamma=1']);
    assert.equal(stepsOf(changed), 7);
    assert.equal(changed.schedule.peak, 0.001);
    assert.deepEqual(changed.lossWeights, { lm: 1, diffusion: 5 });
    assert.deepEqual([changed.mode, changed.data.pairs, changed.snrGamma, changed.seed], ['creation', 3, 1, settings.seed]);
    assert.equal(settings.lossWeights.diffusion, 10);
  });

  test('are refused when the key is unknown, the value of another type, or out of range', () => {
    assert.throws(() => override(settings, ['stepz=7']), /Unknown setting "stepz"\. There are: .*schedule/);
    assert.throws(() => override(settings, ['seed=many']), /seed: expected a value of type number, such as 42, found "many"/);
    assert.throws(() => override(settings, ['steps=-1']), /steps: expected a positive number, found -1/);
    assert.throws(() => override(settings, ['microBatchSize=1.5']), /microBatchSize: expected a whole number/);
    assert.throws(() => override(settings, ['steps']), /"steps": expected key=value/);
  });
});
