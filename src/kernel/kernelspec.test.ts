import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { test } from 'node:test';
import { installKernel, jupyterDataFolder, listKernels, uninstallKernel } from './kernelspec.js';
import { temporaryFolder } from './testing.js';

test('the kernel is installed with absolute paths, listed, and removed without trace', () => {
  const prefix = temporaryFolder();
  const folder = installKernel(prefix);
  assert.equal(folder, join(prefix, 'share/jupyter/kernels/dreamllm'));
  const { argv, language, interrupt_mode } = JSON.parse(readFileSync(join(folder, 'kernel.json'), 'utf8')) as Record<string, string[]>;
  assert.ok(isAbsolute(argv[0]) && existsSync(argv[0]));
  const script = argv[argv.indexOf('--connection-file') - 1];
  assert.ok(isAbsolute(script) && existsSync(script), script);
  assert.deepEqual([argv.at(-1), language, interrupt_mode], ['{connection_file}', 'typescript', 'message']);
  assert.ok(existsSync(join(folder, 'logo-svg.svg')));

  const other = join(prefix, 'share/jupyter/kernels/broken');
  mkdirSync(other);
  writeFileSync(join(other, 'kernel.json'), JSON.stringify({ argv: ['/no/such/program'], display_name: 'Broken', language: 'none' }));
  assert.deepEqual(listKernels(prefix).map(({ name, works }) => [name, works]), [['broken', false], ['dreamllm', true]]);
  assert.equal(uninstallKernel(prefix), folder);
  assert.equal(uninstallKernel(prefix), undefined);
  assert.deepEqual(listKernels(prefix).map(({ name }) => name), ['broken']);
});

test('the kernel goes where Jupyter looks', () => {
  const { JUPYTER_DATA_DIR: before } = process.env;
  process.env.JUPYTER_DATA_DIR = '/elsewhere';
  assert.equal(jupyterDataFolder(), '/elsewhere');
  if (before === undefined) delete process.env.JUPYTER_DATA_DIR;
  else process.env.JUPYTER_DATA_DIR = before;
  assert.equal(jupyterDataFolder('/env'), '/env/share/jupyter');
});
