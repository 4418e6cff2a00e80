import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { loadWasm, wasmVariants } from './wasm.js';

const read = (path: string) => readFileSync(new URL(path, import.meta.url));
const sha256 = (...parts: Buffer[]) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex');

describe('the committed WebAssembly', () => {
  const recorded = new Map(read('./wasm/engine.hash').toString().trim().split('\n').map((line) => line.split('  ').reverse() as [string, string]));

  test('is the one that was recorded, and was built from the sources as they are', () => {
    for (const name of wasmVariants.map((variant) => `${variant}.wasm`)) assert.equal(sha256(read(`./wasm/${name}`)), recorded.get(name), name);
    const headers = readdirSync(new URL('./native', import.meta.url)).filter((name) => name.endsWith('.h')).sort();
    const sources = sha256(...[...headers, 'wasm.c'].map((name) => read(`./native/${name}`)));
    assert.equal(recorded.get('sources'), sources, 'the sources changed: run npm run build:wasm');
  });

  test('is loaded in the variant that is asked for', () => {
    for (const variant of wasmVariants) assert.equal(loadWasm(1, variant).variant, variant);
    assert.throws(() => loadWasm(1, 'simd512'), /Unknown WebAssembly variant "simd512"\. DREAMLLM_WASM is one of simd256, relaxed-simd, simd128/);
  });

  test('sums matrix products alike with vectors of 128 and of 256 bits', () => {
    const [m, n, k] = [37, 45, 530];
    const sums = (['relaxed-simd', 'simd256'] as const).map((variant) => {
      const engine = loadWasm(2, variant);
      const [a, b, c] = [m * k, k * n, m * n].map((count) => {
        const { buffer, offset } = engine.allocate(4 * count);
        return new Float32Array(buffer, offset, count);
      });
      for (const x of [a, b]) x.forEach((_, i) => (x[i] = Math.sin(i * i)));
      engine.call('gemm', [a, b, c, null, null], [1, 0, 0, 0, m, n, k, k, n, n, 0, 0, 0]);
      return c.slice();
    });
    assert.ok(sums[0].some((x) => x !== 0));
    assert.deepEqual(sums[0], sums[1]);
  });

  test('refuses memory beyond 4 GiB with the remedy, and goes on', () => {
    const engine = loadWasm(1);
    assert.throws(() => engine.allocate(5 * 2 ** 30), /at most 4096 MiB in use and was asked for 5120.0 more\. Use a smaller batch/);
    const { buffer, offset } = engine.allocate(64);
    new Float32Array(buffer, offset, 2).set([2, 3]);
    const y = new Float32Array(buffer, offset + 8, 1);
    engine.call('sum', [new Float32Array(buffer, offset, 2), y], [1, 2, 1, 1]);
    assert.equal(y[0], 5);
  });
});
