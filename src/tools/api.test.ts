import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { apiFolder, apiReference } from './api.js';

test('the API reference is that of the sources (remedy: npm run api)', () => {
  const pages = apiReference();
  assert.deepEqual(readdirSync(apiFolder).sort(), [...pages.keys()].sort());
  for (const [name, text] of pages) assert.equal(readFileSync(join(apiFolder, name), 'utf8'), text, `docs/api/${name} is out of date. Run: npm run api`);
});

test('the API reference has signature and sentence of functions, constants and types, and nothing private', () => {
  const pages = apiReference();
  assert.match(pages.get('eval.md')!, /- `wilson\(hits: number, n: number, level = 0\.95, source = 'questions'\): Interval` – /);
  assert.match(pages.get('models.md')!, /## \[src\/models\/llama\/decoder\.ts\]/);
  assert.match(pages.get('train.md')!, /`interface Stage \{ name, mode, data, trainable, /);
  assert.doesNotMatch(pages.get('lab.md')!, /executeChapter/);
});
