import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { siblingModule } from './start-worker.js';

/** A process that writes long lines with `note`, then its end to stdout. */
const writer = (lines: number) => {
  const program = `import { note } from ${JSON.stringify(siblingModule(import.meta.url, './note'))}; for (let i = 0; i < ${lines}; i++) note('x'.repeat(1000)); process.stdout.write('done');`;
  return spawn(process.execPath, [...process.execArgv, '--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] });
};

async function outcome(child: ReturnType<typeof writer>): Promise<{ code: number | null; stdout: string }> {
  let stdout = '';
  child.stdout!.on('data', (bytes: Buffer) => { stdout += bytes.toString(); });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout };
}

test('a log line that nobody reads is lost and the process lives', { timeout: 30_000 }, async () => {
  const child = writer(1000);
  child.stderr!.destroy(); // the reading end is closed: EPIPE
  assert.deepEqual(await outcome(child), { code: 0, stdout: 'done' });
});

test('a log line is written under the kernel’s name', async () => {
  const child = writer(1);
  let stderr = '';
  child.stderr!.on('data', (bytes: Buffer) => { stderr += bytes.toString(); });
  assert.equal((await outcome(child)).code, 0);
  assert.equal(stderr, `kernel: ${'x'.repeat(1000)}\n`);
});
