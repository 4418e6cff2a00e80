// `npm test [-- FILTER…]`: type check, then every *.test.ts under src with Node's test runner. A filter keeps the files whose path contains it.
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
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

const run = (args) => {
  const { status } = spawnSync(process.execPath, args, { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
};
if (filters.length === 0) run(['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit']);
run(['--import', 'tsx', '--test', '--test-reporter=spec', '--test-concurrency=2', ...files]);
