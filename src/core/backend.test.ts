import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { describeBackend, useBackend } from './backend.js';

/** Runs lines in a process of their own, since a process has one backend. */
function inProcess(code: string, env: Record<string, string>): string {
  const program = `import { useBackend } from ${JSON.stringify(new URL('./backend.js', import.meta.url).href)};\nimport * as tf from '@tensorflow/tfjs';\n${code}`;
  try {
    return execFileSync(process.execPath, [...process.execArgv.filter((flag) => !flag.startsWith('--test')), '--import', 'tsx', '--input-type=module', '-e', program], {
      env: { ...process.env, NODE_TEST_CONTEXT: '', ...env }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    return `failed: ${(error as { stderr: string }).stderr}`;
  }
}

describe('useBackend', () => {
  test('computes with two WebAssembly threads, says nothing, and lets the process end', () => {
    const code = `const { name, threads } = await useBackend(); const c = tf.matMul(tf.ones([200, 100]), tf.ones([100, 200])); console.log(name, threads, c.sum().dataSync()[0]);`;
    assert.equal(inProcess(code, { DREAMLLM_BACKEND: 'wasm', DREAMLLM_THREADS: '2' }), 'wasm 2 4000000\n');
  });

  test('chooses by itself and says why not the others', async () => {
    const choice = await useBackend('auto');
    assert.ok(choice.reasons.at(-1)!.startsWith(choice.name));
    assert.equal(describeBackend().backend, choice.name);
    assert.equal(await useBackend(), choice);
  });

  test('refuses an unknown name, a second engine and a bad number of threads', async () => {
    await assert.rejects(useBackend('cuda'), /Unknown backend "cuda"/);
    const { name } = await useBackend();
    await assert.rejects(useBackend(name === 'cpu' ? 'wasm' : 'cpu'), /already computes/);
    assert.match(inProcess('await useBackend();', { DREAMLLM_THREADS: 'many' }), /DREAMLLM_THREADS: expected a whole number/);
  });

  test('names the remedy when a backend asked for is not there', () => {
    assert.match(inProcess('await useBackend();', { DREAMLLM_BACKEND: 'webgpu' }), /backend webgpu is not available: .*npm install webgpu/);
  });
});
