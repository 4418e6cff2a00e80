import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { flopsOf } from './bench/measure.js';
import { siblingModule } from '../core/process.js';

const dreamllm = (...argv: string[]) =>
  execFileSync(process.execPath, ['--import', 'tsx', siblingModule(import.meta.url, './main'), ...argv], { encoding: 'utf8', env: { ...process.env, NODE_TEST_CONTEXT: '' } });

test('doctor prints its findings as one JSON object: the backend, why, speed and remedies', () => {
  const report = JSON.parse(dreamllm('doctor', '--json'));
  assert.ok(report.reasons.at(-1).startsWith(`${report.backend}: `));
  assert.ok(report.trainingStepMs > 0);
  assert.ok(Array.isArray(report.missing));
});

test('bench measures one workload and prints its speed', () => {
  const [line] = dreamllm('bench', 'guided', '--repetitions', '1', '--json').trim().split('\n').map((text) => JSON.parse(text)).filter(({ name }) => name === 'guided');
  assert.ok(line.ms >= line.best && line.best > 0 && line.gflops > 0 && line.outside < 1);
});

test('bench counts the arithmetic of what kernels do', () => {
  assert.equal(flopsOf('gemm', [], [3, 0, 0, 0, 5, 7, 11]), 2 * 3 * 5 * 7 * 11);
  assert.equal(flopsOf('conv', [], [2, 9, 9, 4, 7, 7, 6, 3, 3, 1, 0, 0]), 2 * 2 * 49 * 6 * 9 * 4);
  assert.equal(flopsOf('attention', [], [1, 3, 5, 2, 2, 8, 1, 0.3]), 4 * 2 * 8 * (3 + 4 + 5)); // three queries see 3, 4 and 5 keys
  const starts = [null, null, null, null, null, null, Int32Array.of(0, 3, 5)];
  assert.equal(flopsOf('attention', starts, [2, 3, 3, 2, 2, 8, 1, 0.3]), 4 * 2 * 8 * (1 + 2 + 3 + 1 + 2)); // of three and of two tokens
  assert.equal(flopsOf('copy', [], [100, 1, 100, 1, 1]), 0);
});
