// `npm run test:slurm`: a sweep on a real two-node Slurm. One node is cut off in mid-sweep; every trial must finish exactly once and the
// table must equal that of an undisturbed run. Installs Debian's slurm-wlm and munge when they are missing; needs root.
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

function dreamllm(out, executor) {
  const child = spawn(process.execPath, ['--import', 'tsx', main, 'sweep', sweep, '--out', out, '--executor', executor, '--workers', '4', '--ttl', '5'], {
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

let passed = 0;
try {
  cluster('start');
  const disturbed = dreamllm(join(folder, 'disturbed'), 'slurm');
  await sleep(6000);
  cluster('kill-node', 'n2');
  console.log('cut off node n2');
  // A requeued task begins after about two minutes unless it is told to begin now.
  const hurry = setInterval(() => {
    try {
      const jobs = execFileSync('squeue', ['-h', '-r', '-t', 'PENDING', '-o', '%A'], { env: environment, encoding: 'utf8' }).split('\n').filter(Boolean);
      for (const job of jobs) execFileSync('scontrol', ['update', `jobid=${job}`, 'starttime=now'], { env: environment, stdio: 'ignore' });
    } catch {
      // a task may have begun in between
    }
  }, 5000);
  const status = await disturbed;
  clearInterval(hurry);
  assert.equal(status, 0, 'the disturbed sweep finishes');
  assert.match(readFileSync(join(folder, 'slurmctld.log'), 'utf8'), /n2.*(not responding|DOWN)/, 'the controller saw the node die');

  assert.equal(await dreamllm(join(folder, 'undisturbed'), 'local'), 0);
  assert.equal(table(join(folder, 'disturbed')).length, 16);
  assert.deepEqual(table(join(folder, 'disturbed')), table(join(folder, 'undisturbed')));
  passed++;
} finally {
  cluster('stop');
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
console.log(`${passed} passed, 0 failed`);
