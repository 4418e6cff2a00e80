/**
 * `npm run test:board`: the board in headless Chromium, beside trainings under way. It installs Debian's Chromium if it is missing, and it is no part
 * of `npm test`. Screenshots are left in $SCREENSHOTS, or in a temporary folder whose name is printed.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium, type CDPSession, type Page } from 'playwright-core';
import { packageRoot } from '../core/process.js';
import { random } from '../core/random.js';
import { installPackages } from '../kernel/tools/debian.js';
import { serveBoard } from '../train/board/server.js';
import { override, stageSettings } from '../train/overrides.js';
import { fullCurve, readReferenceCurves } from '../train/reference-curves.js';
import { RunFolder } from '../train/run-folder.js';
import { nano } from '../train/stages.js';

const patience = 300_000; // milliseconds: the machine may be busy
const folder = mkdtempSync(join(tmpdir(), 'dreamllm-board-'));
const screenshots = process.env.SCREENSHOTS ?? join(folder, 'screenshots');
const runs = join(folder, 'runs');
const children = new Set<ChildProcess>();
const sessions = new Map<Page, CDPSession>();

async function main(): Promise<void> {
  installPackages(['chromium']);
  mkdirSync(screenshots, { recursive: true });
  mkdirSync(runs);
  const references = writeReferences();
  const board = await serveBoard(runs, { references });
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage({ viewport: { width: 1360, height: 1000 } });
    const [errors, foreign]: [string[], string[]] = [[], []];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('request', (request) => !request.url().startsWith(new URL(board.url).origin) && !/^(data|blob):/.test(request.url()) && foreign.push(request.url()));
    const shot = (name: string, fullPage = false) => page.screenshot({ path: join(screenshots, `${name}.png`), fullPage });

    await check('it says that there is nothing yet', async () => {
      await page.goto(board.url);
      await until(page, `document.querySelector('#state').textContent.includes('No run has begun')`);
      await shot('empty');
    });
    await check('it follows a training: curve, throughput and time left grow without reloading', async () => {
      train('first', 'steps=60', 'evaluateEvery=20');
      await until(page, `document.querySelector('#runs label input:checked') !== null`);
      await until(page, `${line('first')}?.includes(' left') && ${line('first')}.includes('samples/s')`);
      const points = await valueOf<number>(page, pointsOf('chart'));
      await until(page, `${pointsOf('chart')} >= ${points + 5} && ${pointsOf('speed')} >= ${points + 5}`);
      assert.equal(await valueOf(page, `document.querySelector('#metric').value`), 'loss');
      await shot('following');
    });
    await check('it shows samples and where the dream queries are looked at', async () => {
      await until(page, `document.querySelectorAll('#samples img').length === 1 && document.querySelectorAll('#attention img').length === 1`);
      await until(page, `[...document.querySelectorAll('figure img')].every((image) => image.complete && image.naturalWidth > 100)`);
    });
    await check('it compares runs: both curves, and the settings in which they differ', async () => {
      await finish('first');
      train('second', 'steps=60', 'evaluateEvery=20', 'learningRate=0.0001');
      await until(page, `${line('first')}?.includes('finished') && ${line('second')} !== undefined`);
      await choose(page, 'second');
      await until(page, `${pointsOf('chart')} >= 30`);
      await until(page, `document.querySelector('#comparison').textContent.includes('stage.schedule.peak')`);
      const row = await valueOf<string>(page, `[...document.querySelectorAll('#comparison tr')].find((row) => row.textContent.startsWith('stage.schedule.peak')).textContent`);
      assert.match(row, /0\.001.*0\.0001/);
      await until(page, `document.querySelectorAll('#chart .legend .traces').length === 2`);
      await until(page, `document.querySelectorAll('#samples img').length === 2`);
      await shot('comparing', true);
    });
    await check('a killed training is shown as stopped', async () => {
      for (const child of children) child.kill('SIGKILL');
      await until(page, `${line('second')}.includes('stopped')`);
    });
    await check('evaluations, hours and the logarithm can be chosen', async () => {
      await page.selectOption('#metric', 'valLoss');
      await page.selectOption('#axis', 'hours');
      await page.check('#log');
      await until(page, `document.querySelector('#chart .ytitle').textContent === 'valLoss' && document.querySelector('#chart .xtitle').textContent === 'hours of training'`);
      await shot('evaluations');
      await page.selectOption('#metric', 'loss');
      await page.selectOption('#axis', 'step');
      await page.uncheck('#log');
    });
    await check('a run of nano is drawn on its reference band', async () => {
      syntheticRun(join(runs, 'nano', 'i-gpt'), 2);
      await until(page, `${line('nano/i-gpt')} !== undefined`);
      for (const name of ['first', 'second', 'nano/i-gpt']) await choose(page, name);
      await until(page, `document.querySelector('#chart').data.some(({ name }) => name === 'reference band')`);
      await until(page, `/within the reference band(3[89]|40) of 40 stretches/.test(document.querySelector('#comparison').textContent)`);
      await shot('reference');
    });
    await check('runs are found by name, and a narrow window is one column', async () => {
      await page.fill('#filter', 'NANO');
      assert.equal(await valueOf(page, `document.querySelectorAll('#runs label').length`), 1);
      await page.fill('#filter', '');
      await page.setViewportSize({ width: 600, height: 900 });
      await page.waitForTimeout(500);
      assert.ok(await valueOf(page, 'document.documentElement.scrollWidth <= 600'), 'the page is wider than its window');
      await shot('narrow');
    });
    await check('nothing is asked of another host, nothing goes wrong in the page, and without the token there is nothing', async () => {
      assert.deepEqual([errors, foreign], [[], []]);
      const answer = await page.goto(new URL('/', board.url).href);
      assert.equal(answer?.status(), 403);
    });
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await browser.close();
    await board.close();
  }
}

async function check(title: string, run: () => Promise<void>): Promise<void> {
  const start = performance.now();
  await run();
  console.log(`ok: ${title} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
}

/** The value of an expression in the page. It goes past playwright's own evaluation, which the page's content policy forbids as it forbids everybody's. */
async function valueOf<T>(page: Page, expression: string): Promise<T> {
  let session = sessions.get(page);
  if (!session) sessions.set(page, (session = await page.context().newCDPSession(page)));
  const { result, exceptionDetails } = await session.send('Runtime.evaluate', { expression, returnByValue: true });
  if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
  return result.value as T;
}

async function until(page: Page, claim: string): Promise<void> {
  const end = performance.now() + patience;
  while (!(await valueOf<boolean>(page, `Boolean(${claim})`))) {
    if (performance.now() > end) {
      await page.screenshot({ path: join(screenshots, 'failed.png'), fullPage: true });
      throw new Error(`The board never came to show: ${claim}`);
    }
    await sleep(200);
  }
}

/** What the list says of a run, as an expression. */
const line = (name: string) => `[...document.querySelectorAll('#runs label')].find((label) => label.querySelector('b').textContent === '${name}')?.textContent`;
const pointsOf = (chart: string) => `Math.max(0, ...(document.getElementById('${chart}').data ?? []).map(({ x }) => x.length))`;
const choose = (page: Page, name: string) => valueOf(page, `[...document.querySelectorAll('#runs label')].find((label) => label.querySelector('b').textContent === '${name}').querySelector('input').click()`);

/** Trains micro on stage II in a process of its own, as a person would. */
function train(name: string, ...settings: string[]): void {
  const main = join(packageRoot(), 'dist/cli/main.js');
  const child = spawn(process.execPath, [main, 'train', 'i-gpt', '--preset', 'micro', '--out', join(runs, name), ...settings.flatMap((each) => ['--set', each])], { stdio: ['ignore', 'ignore', 'inherit'] });
  children.add(child);
  child.once('exit', () => children.delete(child));
}

async function finish(name: string): Promise<void> {
  for (const child of children) {
    const status = await new Promise((resolve) => child.once('exit', resolve));
    assert.equal(status, 0, `the training ${name} failed`);
  }
}

/** A finished run of nano's stage II with losses that fall as losses do, so that the board can be seen with a reference before there is a long training. */
function syntheticRun(path: string, seed: number): void {
  const { foundation } = readReferenceCurves();
  const run = RunFolder.create(path, { settings: { preset: 'nano', stage: override(stageSettings(nano['i-gpt']), ['steps=400', `seed=${seed}`]), parents: [foundation] } });
  run.append({ type: 'start', step: 0, steps: 400 });
  random(seed, 'losses').normals(400).forEach((noise, step) => run.append({ type: 'step', step, loss: 1 + 2 * Math.exp(-step / 80) + 0.2 * noise, ms: 500, samplesPerSecond: 32 + noise }));
  run.finish({});
  run.close();
}

function writeReferences(): string {
  const path = join(folder, 'reference');
  syntheticRun(path, 1);
  const file = join(folder, 'reference-curves.json');
  writeFileSync(file, JSON.stringify({ ...readReferenceCurves(), full: { 'i-gpt': fullCurve(path).curve } }));
  return file;
}

await main();
console.log(`Screenshots are in ${screenshots}.`);
process.exit(0);
