import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
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
  assert.ok(line.median > 0 && line.gflops > 0 && line.outside < 1);
});
