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
    assert.match(inProcess('await useBackend();', { DREAMLLM_BACKEND: 'tfjs-node-gpu' }), /tfjs-node-gpu is not available: not installed.*CUDA 11.*npm install/);
  });

  test('says so before anything runs where Node has no SIMD or threads in WebAssembly', () => {
    const without = 'WebAssembly.validate = () => false; await useBackend();';
    assert.match(inProcess(without, { DREAMLLM_BACKEND: 'wasm' }), /backend wasm is not available: The WebAssembly engine needs SIMD and threads, which Node .* does not offer\. Use DREAMLLM_BACKEND=cpu/);
  });

  test('tells a GPU that is not there and a CUDA that does not fit', () => {
    // A package in the place of tfjs-node-gpu that acts as the true one would.
    const asked = (source: string) => {
      const hook = `export const resolve = (name, context, next) => name === '@tensorflow/tfjs-node-gpu' ? { url: ${JSON.stringify(`data:text/javascript,${encodeURIComponent(source)}`)}, shortCircuit: true } : next(name, context);`;
      const code = `import { register } from 'node:module'; register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)}); await useBackend();`;
      return inProcess(code, { DREAMLLM_BACKEND: 'tfjs-node-gpu' });
    };
    assert.match(asked('export const backend = () => ({ isUsingGpuDevice: false });'), /it loads but lists no GPU\. It needs CUDA 11 and cuDNN 8; newer GPUs are reached by webgpu/);
    const wrong = asked("throw new Error('libcudart.so.11.0: cannot open shared object file');");
    assert.match(wrong, /it does not load: libcudart\.so\.11\.0: cannot open shared object file\. .*needs an NVIDIA GPU with CUDA 11 and cuDNN 8; DREAMLLM_BACKEND=auto takes the next/);
  });
});
