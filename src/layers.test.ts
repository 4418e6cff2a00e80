import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = dirname(fileURLToPath(import.meta.url));

/** What each layer may import besides itself and packages. */
const allowed: Record<string, string[]> = {
  core: [],
  text: ['core'],
  nn: ['core'],
  models: ['core', 'text', 'nn'],
  dreamllm: ['core', 'text', 'nn', 'models'],
  data: ['core', 'text', 'nn', 'models', 'dreamllm'],
  train: ['core', 'text', 'nn', 'models', 'dreamllm', 'data'],
  eval: ['core', 'text', 'nn', 'models', 'dreamllm', 'data'],
  // Figures are drawn by the kernel's renderer, which knows plotly and nothing of the models.
  lab: ['core', 'text', 'nn', 'models', 'dreamllm', 'data', 'train', 'eval', 'kernel'],
  kernel: [],
};

function* sources(folder: string): Generator<string> {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* sources(path);
    else if (name.endsWith('.ts') && !name.endsWith('.test.ts')) yield path;
  }
}

test('a layer imports only itself and the layers left of it', () => {
  const wrong: string[] = [];
  for (const path of sources(root)) {
    const layer = relative(root, path).split(sep)[0];
    if (!(layer in allowed)) continue;
    for (const [, specifier] of readFileSync(path, 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
      const target = relative(root, join(dirname(path), specifier)).split(sep)[0];
      if (target !== layer && !allowed[layer].includes(target)) wrong.push(`${relative(root, path)} imports ${specifier}`);
    }
  }
  assert.deepEqual(wrong, []);
});
