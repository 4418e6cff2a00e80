/**
 * `npm run test:jupyter`: the kernel in Debian's Jupyter (nbconvert, nbclient, nbformat, the classic Notebook) and in a real
 * browser. It installs the Debian packages it lacks, so it needs root or sudo for that, and it is no part of `npm test`.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { chromium, type Browser, type Page } from 'playwright-core';
import { isCode, readNotebook, writeNotebook, type Notebook } from '../document/notebook.js';
import { toHtml } from '../document/page.js';
import { fromPercent } from '../document/percent.js';
import { runNotebook } from '../document/run.js';
import { installKernel } from '../kernelspec.js';
import { installPackages } from './debian.js';

const packages = ['jupyter-notebook', 'jupyter-nbconvert', 'python3-nbclient', 'python3-ipykernel', 'chromium'];
const patience = 180_000; // milliseconds

const script = `// %% [markdown]
// # A tour

// %%
let lr = 1e-3;
function step(): number { return lr }

// %%
lr = 1e-4;
step()

// %%
for (let i = 0; i < 3000; i++) console.log('line', i);

// %%
const bar = progress(3, { label: 'stage' });
for (let i = 1; i <= 3; i++) { bar.update(i); await new Promise((done) => setTimeout(done, 100)); }

// %%
({ data: [{ type: 'bar', x: ['nano', '7B'], y: [3, 5] }], layout: { title: { text: 'Bars' } } })

// %%
aq.table({ stage: ['I', 'II'], loss: [1.5, 0.5] })

// %% tags=["raises-exception"]
const wrong: string = 5;

// %%
'after the error'
`;

const folder = mkdtempSync(join(tmpdir(), 'dreamllm-jupyter-'));
const env = { ...process.env, JUPYTER_DATA_DIR: join(folder, 'data'), JUPYTER_CONFIG_DIR: join(folder, 'config'), JUPYTER_RUNTIME_DIR: join(folder, 'runtime') };
const python = '/usr/bin/python3';

const jupyter = (...args: string[]) => execFileSync(python, ['-m', 'jupyter', ...args], { cwd: folder, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** What each code cell shows, in a line: enough to compare front ends by. */
const summary = (notebook: Notebook) =>
  notebook.cells.filter(isCode).map(({ outputs }) => outputs.map((output) => (output.output_type === 'error' ? output.ename : 'text' in output ? `${[output.text].flat().join('').split('\n').length - 1} lines` : Object.keys(output.data).sort().join(' '))).join('; '));

const expected = ['', 'text/plain', '3000 lines', 'text/html text/plain', 'application/vnd.plotly.v1+json image/png text/plain', 'text/html text/plain', 'TS2322', 'text/plain'];

/** Works through the checks in order; each prints a line, and the first that fails ends the program. */
async function main(): Promise<void> {
  installPackages(packages);
  process.env.JUPYTER_DATA_DIR = env.JUPYTER_DATA_DIR;
  installKernel();
  const file = join(folder, 'tour.ipynb');
  writeNotebook(file, fromPercent(script));

  await check('Jupyter finds the kernel', () => {
    const names = execFileSync(python, ['-c', 'from jupyter_client.kernelspec import find_kernel_specs; print(*find_kernel_specs())'], { env, encoding: 'utf8' });
    assert.match(names, /\bdreamllm\b/);
  });
  await check('nbconvert executes a notebook', () => {
    jupyter('nbconvert', '--to', 'notebook', '--execute', 'tour.ipynb', '--output', 'converted.ipynb');
    assert.deepEqual(summary(readNotebook(join(folder, 'converted.ipynb'))), expected);
    const counts = readNotebook(join(folder, 'converted.ipynb')).cells.filter(isCode).map(({ execution_count }) => execution_count);
    assert.deepEqual(counts, [1, 2, 3, 4, 5, 6, 7, 8]);
  });
  await check('nbclient reports an error with its name and message', () => {
    writeNotebook(join(folder, 'fails.ipynb'), fromPercent('// %%\nthrow new RangeError("too far")\n'));
    const { stderr } = spawnSync(python, ['-m', 'jupyter', 'execute', 'fails.ipynb'], { cwd: folder, env, encoding: 'utf8' });
    assert.match(stderr, /RangeError: too far/);
  });
  await check('this runner gives the same outputs, and nbformat finds them valid', async () => {
    await runNotebook(file, { out: join(folder, 'ours.ipynb'), env });
    assert.deepEqual(summary(readNotebook(join(folder, 'ours.ipynb'))), expected);
    execFileSync(python, ['-c', 'import nbformat, sys; nbformat.validate(nbformat.read(sys.argv[1], as_version=4))', join(folder, 'ours.ipynb')], { stdio: 'inherit' });
  });

  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  try {
    await check('the exported page draws its charts without network or errors', () => checkPage(browser));
    await check('the classic Notebook runs, completes, updates in place and interrupts', () => checkClassic(browser));
  } finally {
    await browser.close();
  }
}

async function check(title: string, run: () => void | Promise<void>): Promise<void> {
  const start = performance.now();
  await run();
  console.log(`ok: ${title} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
}

async function checkPage(browser: Browser): Promise<void> {
  const file = join(folder, 'ours.html');
  writeFileSync(file, toHtml(readNotebook(join(folder, 'ours.ipynb')), 'tour'));
  const page = await browser.newPage({ viewport: { width: 1100, height: 900 } });
  const [errors, requests]: [string[], string[]] = [[], []];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('request', (request) => !/^(file|data|blob):/.test(request.url()) && requests.push(request.url()));
  await page.goto(pathToFileURL(file).href);
  await page.waitForSelector('.figure .main-svg', { timeout: patience });
  assert.deepEqual([errors, requests], [[], []]);
  await page.screenshot({ path: join(screenshots, 'page.png'), fullPage: true });
  await page.close();
}

async function checkClassic(browser: Browser): Promise<void> {
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const server = spawn(python, ['-m', 'jupyter', 'notebook', '--no-browser', '--allow-root', '--ip=127.0.0.1', `--port=${port}`, '--NotebookApp.token=test', '--NotebookApp.password='], { cwd: folder, env, stdio: 'ignore' });
  try {
    const page = await browser.newPage({ viewport: { width: 1100, height: 900 } });
    const url = `http://127.0.0.1:${port}/notebooks/tour.ipynb?token=test`;
    for (let tries = 0; ; tries++) {
      try {
        await page.goto(url, { timeout: patience });
        break;
      } catch (error) {
        if (tries > 60) throw error;
        await page.waitForTimeout(1000);
      }
    }
    await runCells(page);
  } finally {
    server.kill('SIGTERM');
  }
}

/** The page's own notebook object, as the classic front end offers it to extensions. */
async function runCells(page: Page): Promise<void> {
  const idle = 'window.Jupyter?.notebook?.kernel?.is_connected?.() && !Jupyter.notebook.kernel_busy';
  await page.waitForFunction(idle, undefined, { timeout: patience });
  await page.evaluate('Jupyter.notebook.execute_all_cells()');
  await page.waitForFunction(`Jupyter.notebook.get_cells().at(-1).output_area?.outputs.length > 0 && !Jupyter.notebook.kernel_busy`, undefined, { timeout: patience });
  const counts = await page.evaluate('Jupyter.notebook.get_cells().filter((cell) => cell.cell_type === "code").map((cell) => cell.output_area.outputs.length)');
  console.log('  outputs a cell:', JSON.stringify(counts));
  assert.equal(await page.evaluate('Jupyter.notebook.get_cells()[2].output_area.outputs[0].data["text/plain"]'), '0.0001');
  assert.ok(await page.$('.output_png img, .output_subarea img'), 'the figure is shown as a picture');
  assert.equal(await page.evaluate('document.querySelector(".output_html progress").value'), 3);
  await page.screenshot({ path: join(screenshots, 'classic.png'), fullPage: true });

  const matches = await page.evaluate(`new Promise((done) => Jupyter.notebook.kernel.complete('bar.up', 6, (reply) => done(reply.content.matches)))`);
  assert.deepEqual(matches, ['update']);
  const inspected = await page.evaluate(`new Promise((done) => Jupyter.notebook.kernel.inspect('step()', 2, (reply) => done(reply.content.data['text/plain'])))`);
  assert.match(String(inspected), /function step\(\): number/);

  await page.evaluate(`(() => { const cell = Jupyter.notebook.insert_cell_at_bottom('code'); cell.set_text('let spins = 0; while (true) { spins++; await new Promise((done) => setTimeout(done, 10)) }'); cell.execute(); })()`);
  await page.waitForTimeout(2000);
  await page.evaluate('Jupyter.notebook.kernel.interrupt()');
  await page.waitForFunction(`Jupyter.notebook.get_cells().at(-1).output_area.outputs.some((output) => output.ename === 'Interrupted')`, undefined, { timeout: patience });
  await page.waitForFunction(idle, undefined, { timeout: patience });
}

/** Pictures of what was seen are left here, to be looked at. */
const screenshots = process.env.SCREENSHOTS ?? join(folder, 'screenshots');
mkdirSync(screenshots, { recursive: true });

try {
  await main();
} finally {
  if (process.env.SCREENSHOTS) rmSync(folder, { recursive: true, force: true });
  else console.log(`screenshots and notebooks are in ${folder}`);
}
process.exit(0);
