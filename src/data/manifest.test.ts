import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { makeManifest } from './manifest.js';

const read = (path: string) => readFileSync(new URL(`../../data/${path}`, import.meta.url), 'utf8');

test('data/manifest.json is that of the installed packages and of the committed tokenizer', () => {
  assert.deepEqual(JSON.parse(read('manifest.json')), JSON.parse(JSON.stringify(makeManifest())));
});

test('data/LICENSES.md names every package with its version', () => {
  const rows = read('LICENSES.md').split('\n');
  for (const { name, version } of makeManifest().packages) assert.ok(rows.some((row) => row.startsWith(`| \`${name}\` | ${version} |`)), `${name} ${version}`);
});
