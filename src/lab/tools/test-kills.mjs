// `npm run test:kills`: the sweep command and all its workers killed with -9 twenty times at random moments. Every trial must end with one record, as in
// an undisturbed run, and a finished sweep must be over within five seconds when it is run again. Uses the build.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const main = resolve(dirname(fileURLToPath(import.meta.url)), '../../../dist/cli/main.js');
if (!existsSync(main)) throw new Error(`${main} is missing. Run npm run build first.`);
const folder = mkdtempSync(join(tmpdir(), 'dreamllm-kills-'));
const [kills, trials] = [20, 120];

const sweep = join(folder, 'sweep.mjs');
writeFileSync(
  sweep,
  `const pause = () => new Promise((done) => setTimeout(done, 150));
   export default {
     name: 'kills', question: 'Does each trial end once?', base: { width: 0 }, grid: { width: ${JSON.stringify(Array.from({ length: trials / 2 }, (_, i) => i))} }, seeds: [0, 1],
     train: pause,
     measurements: { score: { async run(config, seed) { await pause(); return config.width * 10 + seed; } }, twice: { async run(config) { await pause(); return 2 * config.width; } } },
   };`,
);

/**
 * Runs the command in a process group of its own, which is killed as a whole when `steps` more measurements are done and some milliseconds are over.
 * Gives the exit status, or null when it was killed.
 */
function run(out, steps) {
  const child = spawn(process.execPath, [main, 'sweep', sweep, '--out', out, '--workers', '2', '--ttl', '1'], { detached: true, stdio: 'ignore' });
  const ended = new Promise((done) => child.on('exit', done));
  if (steps !== undefined) {
    const before = finished(out);
    const watch = setInterval(() => {
      if (finished(out) < before + steps) return;
      clearInterval(watch);
      setTimeout(() => process.kill(-child.pid, 'SIGKILL'), (steps === 0 ? 2000 : 300) * Math.random());
    }, 20);
    void ended.then(() => clearInterval(watch));
  }
  return ended;
}

/** Measurements that have a result. */
function finished(out) {
  const folder = join(out, 'measurements');
  return existsSync(folder) ? readdirSync(folder).filter((name) => existsSync(join(folder, name, 'result.json'))).length : 0;
}

const records = (out) => readFileSync(join(out, 'results.jsonl'), 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
const plain = (out) => records(out).map(({ trial, measurement, config, seed, result }) => ({ trial, measurement, config, seed, result }));

try {
  const [killed, whole] = [join(folder, 'killed'), join(folder, 'whole')];
  assert.equal(await run(whole), 0);
  for (let kill = 0; kill < kills; kill++) {
    const status = await run(killed, Math.floor(9 * Math.random()));
    assert.equal(status, null, `run ${kill} ended before it was killed`);
  }
  console.log(`${kills} runs were killed; ${finished(killed)} of ${2 * trials} measurements were done by then`);
  assert.equal(await run(killed), 0, 'the last run finishes');
  assert.equal(records(killed).length, 2 * trials);
  assert.equal(new Set(records(killed).map(({ trial, measurement }) => `${trial} ${measurement}`)).size, 2 * trials, 'no record twice');
  assert.deepEqual(plain(killed), plain(whole));

  const again = performance.now();
  assert.equal(await run(killed), 0);
  const seconds = (performance.now() - again) / 1000;
  console.log(`a finished sweep again: ${seconds.toFixed(1)} s`);
  assert.ok(seconds < 5, `${seconds} s`);
} finally {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
console.log('1 passed, 0 failed');
