import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const compiler = ['cc', 'gcc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0);

// Without a compiler there is no native engine to fence in.
if (compiler) {
  describe('the native kernels', () => {
    let folder: string;
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'dreamllm-fence-'));
    });
    after(() => rmSync(folder, { recursive: true }));

    /** Builds native/fence.c with a sanitizer and runs so many rounds on two threads. Returns the number of kernel calls. */
    function fenced(sanitizer: string, rounds: number): number {
      const program = join(folder, sanitizer.replace(/\W/g, '-'));
      const source = fileURLToPath(new URL('./native/fence.c', import.meta.url));
      const machine = process.arch === 'x64' ? '-march=native' : '-mcpu=native';
      execFileSync(compiler!, ['-std=gnu11', '-g', '-O1', machine, '-fopenmp-simd', '-fno-math-errno', '-fno-trapping-math', '-pthread',
        `-fsanitize=${sanitizer}`, '-fno-sanitize-recover=all', '-o', program, source, '-lm']);
      return Number(execFileSync(program, [String(rounds), '2'], { encoding: 'utf8' }));
    }

    test('touch no memory but their own, on random sizes', () => assert.ok(fenced('address,undefined', 300) > 9000));

    test('share work between threads without races', () => assert.ok(fenced('thread', 30) > 900));
  });
}
