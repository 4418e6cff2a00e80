import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { useBackend } from '../core/backend.js';
import { random } from '../core/random.js';
import { override, stageSettings } from './overrides.js';
import { changesOf, compareWithReference, fullCurve, readReferenceCurves, referenceOf } from './reference-curves.js';
import { readEvents, RunFolder } from './run-folder.js';
import { shortCurves } from './short-curves.js';
import { nano, stageNames } from './stages.js';

const renew = 'write new ones with "dreamllm foundation curves --job DIR" of a finished main job';

/** A finished run of nano's stage II that logged these losses. */
function runOf(losses: readonly number[], { preset = 'nano', changes = [] as string[] } = {}): string {
  const path = join(mkdtempSync(join(tmpdir(), 'reference-')), 'run');
  const stage = override(stageSettings(nano['i-gpt']), [`steps=${losses.length}`, ...changes]);
  const run = RunFolder.create(path, { settings: { preset, stage, parents: ['the foundation'] } });
  losses.forEach((loss, step) => run.append({ type: 'step', step, loss }));
  run.finish({});
  run.close();
  return path;
}

/** A loss that falls from 3 to 1 with noise of deviation 0.2, and goes up by `offset` in its second half. */
const losses = (seed: number, offset = 0) => Array.from(random(seed, 'losses').normals(400), (noise, i) => 1 + 2 * Math.exp(-i / 80) + 0.2 * noise + (i >= 200 ? offset : 0));

describe('the reference curves', () => {
  test('are followed by three steps of each nano stage', { timeout: 300_000 }, async () => {
    await useBackend();
    const { foundation, short } = readReferenceCurves();
    const found = await shortCurves(mkdtempSync(join(tmpdir(), 'curves-')));
    assert.equal(found.foundation, foundation, `data/foundation changed since the curves were taken: ${renew}`);
    for (const name of stageNames) {
      assert.equal(short.losses[name].length, found.short.losses[name].length);
      found.short.losses[name].forEach((loss, step) => {
        const published = short.losses[name][step];
        assert.ok(Math.abs(loss - published) <= short.tolerance * published, `${name}, step ${step}: loss ${loss}, published ${published}`);
      });
    }
  });

  test('belong to the settings that nano has, where whole ones are published', () => {
    for (const [name, curve] of Object.entries(readReferenceCurves().full)) {
      assert.deepEqual(changesOf(curve.settings, stageSettings(nano[name as keyof typeof nano])), [], `${name}: ${renew}`);
      assert.ok(curve.loss.every((loss, i) => curve.low[i] <= loss && loss <= curve.high[i]));
    }
  });

  test('of a whole stage are kept to by a run with another seed, and left by one whose loss rises', () => {
    const { curve } = fullCurve(runOf(losses(1)));
    assert.equal(curve.steps.length, 40);
    const again = compareWithReference(readEvents(runOf(losses(2))), curve);
    assert.equal(again.stretches, 40);
    assert.ok(again.inside >= 38, JSON.stringify(again)); // three deviations: one in four hundred is outside by chance
    const worse = compareWithReference(readEvents(runOf(losses(3, 0.5))), curve);
    assert.ok(worse.inside <= 22, JSON.stringify(worse));
    assert.equal(worse.firstOutside, 200);
  });

  test('are compared as far as a run has come', () => {
    const { curve } = fullCurve(runOf(losses(1)));
    const run = runOf(losses(2).slice(0, 105));
    assert.equal(compareWithReference(readEvents(run), curve).stretches, 10);
  });

  test('are held against runs of the same settings, whatever their seed', () => {
    const { curve } = fullCurve(runOf(losses(1)));
    const references = { ...readReferenceCurves(), foundation: 'the foundation', full: { 'i-gpt': curve } };
    assert.ok(referenceOf(runOf(losses(2), { changes: ['seed=7', 'checkpointEvery=3'] }), references));
    assert.equal(referenceOf(runOf(losses(2), { changes: ['learningRate=0.5'] }), references), undefined);
    assert.equal(referenceOf(runOf(losses(2), { preset: 'micro' }), references), undefined);
    assert.equal(referenceOf(runOf(losses(2)), { ...references, foundation: 'another' }), undefined);
  });
});
