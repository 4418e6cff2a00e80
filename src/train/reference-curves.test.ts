import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { useBackend } from '../core/backend.js';
import { readReferenceCurves, shortCurves } from './reference-curves.js';
import { stageNames } from './stages.js';

/** Engines round in different orders; three steps spread that little. */
const tolerance = 0.01;

test('three steps of each nano stage follow the published curves', { timeout: 300_000 }, async () => {
  await useBackend();
  const expected = readReferenceCurves();
  const found = await shortCurves(mkdtempSync(join(tmpdir(), 'curves-')));
  assert.equal(found.foundation, expected.foundation, 'data/foundation changed: write new curves with "dreamllm foundation curves"');
  for (const name of stageNames) {
    found.short[name].forEach((loss, step) => {
      const published = expected.short[name][step];
      assert.ok(Math.abs(loss - published) <= tolerance * published, `${name}, step ${step}: loss ${loss}, published ${published}`);
    });
  }
});
