// `npm test [-- FILTER…]`: type check, then every *.test.ts under src with Node's test runner. A filter keeps the files whose path contains it.
// Node's own options, before this file's name, go to the tests as well.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const filters = process.argv.slice(2);
const files = [];
const walk = (folder) => {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) walk(path);
    else if (path.endsWith('.test.ts') && (filters.length === 0 || filters.some((filter) => path.includes(filter)))) files.push(path);
  }
};
walk('src');
files.sort();

// Tests make folders under the temporary one: all in one of their own, deleted with the run, also where a test failed half-way.
const temporary = mkdtempSync(join(tmpdir(), 'dreamllm-npm-test-'));
const run = (args) => spawnSync(process.execPath, args, { stdio: 'inherit', env: { ...process.env, TMPDIR: temporary } }).status ?? 1;

try {
  process.exitCode = filters.length === 0 ? run(['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit']) : 0;
  if (process.exitCode === 0) process.exitCode = run([...process.execArgv, '--import', 'tsx', '--test', '--test-reporter=spec', '--test-concurrency=2', ...files]);
} finally {
  rmSync(temporary, { recursive: true, force: true });
}
