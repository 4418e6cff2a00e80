// `npm run test:slurm`: a sweep on a real two-node Slurm. One node is cut off in mid-sweep; every trial must finish exactly once and the
// table must equal that of an undisturbed run; trials longer than a task may take go on where they were; a sweep that is left alone writes its records. Installs Debian's slurm-wlm and munge when they are missing; needs root.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

if (!existsSync('/usr/sbin/slurmctld')) {
  execFileSync('apt-get', ['update', '-qq'], { stdio: 'inherit' });
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'slurm-wlm', 'munge'], { stdio: 'inherit' });
}

const here = dirname(fileURLToPath(import.meta.url));
const main = resolve(here, '../../cli/main.ts');
const folder = mkdtempSync(join(tmpdir(), 'dreamllm-slurm-'));
const cluster = (...args) => execFileSync('bash', [join(here, 'slurm-cluster.sh'), args[0], folder, ...args.slice(1)], { stdio: 'inherit' });
const environment = { ...process.env, SLURM_CONF: join(folder, 'slurm.conf') };
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const sweep = join(folder, 'sweep.mjs');
writeFileSync(
  sweep,
  `import { appendFileSync } from 'node:fs';
   export default {
     name: 'slurm-test', question: 'Does each trial run once?', base: { width: 0 }, grid: { width: [0, 1, 2, 3, 4, 5, 6, 7] }, seeds: [0, 1],
     async train(config, seed, { folder, log }) {
       log('on ' + process.env.SLURMD_NODENAME + ' restart ' + (process.env.SLURM_RESTART_COUNT ?? 0));
       await new Promise((done) => setTimeout(done, 3000));
     },
     measurements: { score: { run: async (config, seed) => config.width * 10 + seed } },
   };`,
);

/** A sweep whose trials take longer than a task may: each counts its seconds in a file and stops when it is told to. */
const longSweep = join(folder, 'long.mjs');
writeFileSync(
  longSweep,
  `import { existsSync, readFileSync, writeFileSync } from 'node:fs';
   import { join } from 'node:path';
   export default {
     name: 'slurm-long', question: 'Does a trial go on where its time was up?', base: { width: 0 }, grid: { width: [0, 1] }, seeds: [0],
     async train(config, seed, { folder, signal, log }) {
       const file = join(folder, 'seconds');
       let seconds = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
       log('begins at ' + seconds);
       for (; seconds < 50; seconds++) {
         signal.throwIfAborted();
         await new Promise((done) => setTimeout(done, 1000));
         writeFileSync(file, String(seconds + 1));
       }
     },
     measurements: { score: { run: async (config) => config.width } },
   };`,
);

function dreamllm(out, executor, file = sweep, more = ['--workers', '4', '--ttl', '5']) {
  const child = spawn(process.execPath, ['--import', 'tsx', main, 'sweep', file, '--out', out, '--executor', executor, ...more], {
    env: environment,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return new Promise((done) => child.on('exit', done));
}

const table = (out) =>
  readFileSync(join(out, 'results.jsonl'), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
    .map(({ trial, config, seed, result }) => ({ trial, config, seed, result }));

/** A requeued task begins after about two minutes unless it is told to begin now. */
function hurryUp() {
  try {
    const jobs = execFileSync('squeue', ['-h', '-r', '-t', 'PENDING', '-o', '%A'], { env: environment, encoding: 'utf8' }).split('\n').filter(Boolean);
    for (const job of jobs) execFileSync('scontrol', ['update', `jobid=${job}`, 'starttime=now'], { env: environment, stdio: 'ignore' });
  } catch {
    // a task may have begun in between
  }
}

let passed = 0;
try {
  cluster('start');
  const disturbed = dreamllm(join(folder, 'disturbed'), 'slurm');
  await sleep(6000);
  cluster('kill-node', 'n2');
  console.log('cut off node n2');
  const hurry = setInterval(hurryUp, 5000);
  const status = await disturbed;
  clearInterval(hurry);
  assert.equal(status, 0, 'the disturbed sweep finishes');
  assert.match(readFileSync(join(folder, 'slurmctld.log'), 'utf8'), /n2.*(not responding|DOWN)/, 'the controller saw the node die');

  assert.equal(await dreamllm(join(folder, 'undisturbed'), 'local'), 0);
  assert.equal(table(join(folder, 'disturbed')).length, 16);
  assert.deepEqual(table(join(folder, 'disturbed')), table(join(folder, 'undisturbed')));
  passed++;

  // A minute is allowed, 50 s are needed, and work stops after 40: each trial is queued twice and loses nothing.
  const long = join(folder, 'long');
  const again = setInterval(hurryUp, 5000);
  assert.equal(await dreamllm(long, 'slurm', longSweep, ['--workers', '2', '--ttl', '5', '--time-limit', '1']), 0, 'the long sweep finishes');
  clearInterval(again);
  assert.deepEqual(table(long).map(({ result }) => result), [0, 1]);
  for (const trial of table(long)) {
    const starts = readFileSync(join(long, 'trials', trial.trial, 'log.txt'), 'utf8').match(/begins at \d+/g).map((line) => Number(line.slice(10)));
    assert.equal(starts.length, 2, `the trial began ${starts.length} times`);
    assert.ok(starts[0] === 0 && starts[1] >= 20, `the second time at ${starts[1]} s`);
  }
  passed++;

  // Submitted and left alone, a sweep writes its records itself.
  const left = join(folder, 'left');
  assert.equal(await dreamllm(left, 'slurm', sweep, ['--workers', '4', '--ttl', '5', '--detach', '--sbatch=--comment=test']), 0);
  for (let i = 0; i < 120 && !existsSync(join(left, 'results.jsonl')); i++) await sleep(1000);
  assert.deepEqual(table(left), table(join(folder, 'undisturbed')));
  passed++;
} finally {
  cluster('stop');
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
console.log(`${passed} passed, 0 failed`);
