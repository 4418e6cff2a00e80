import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { siblingModule } from '../core/process.js';
import { loadSweep } from './load-sweep.js';
import { parseFailurePolicy, runLocally } from './local.js';
import { collectRecords } from './plan.js';

const folder = mkdtempSync(join(tmpdir(), 'dreamllm-trials-'));
const url = (module: string) => JSON.stringify(pathToFileURL(siblingModule(import.meta.url, module)).href);

/** A sweep that trains micro through all four stages and measures the hash of what comes out. Its first trials begin once `workers` processes are at work. */
function sweepFile(workers: number): { file: string; out: string } {
  const out = join(folder, `${workers}-workers`);
  const file = join(folder, `sweep-${workers}.mjs`);
  writeFileSync(
    file,
    `import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
     import { join } from 'node:path';
     import { useBackend } from ${url('../core/backend')};
     import { trainFourStages } from ${url('../train/four-stages')};
     export default {
       name: 'trials', question: 'Does a trial depend on how many processes run the sweep?',
       base: { learningRate: 0 }, grid: { learningRate: [0.001, 0.01] }, seeds: [0, 1],
       async train({ learningRate }, seed, { folder, shared }) {
         await useBackend();
         const present = join(shared, 'present');
         mkdirSync(present, { recursive: true });
         writeFileSync(join(present, String(process.pid)), '');
         while (readdirSync(present).length < ${workers}) await new Promise((done) => setTimeout(done, 50));
         await trainFourStages(join(folder, 'stages'), ['steps=2', 'checkpointEvery=2', \`seed=\${seed}\`, \`learningRate=\${learningRate}\`]);
       },
       measurements: { hash: { async run(config, seed, { folder }) { return JSON.parse(readFileSync(join(folder, 'stages/sft/result.json'), 'utf8')).hash; } } },
     };`,
  );
  return { file, out };
}

test('training gives the same trials, to the byte, in one process and in two', { timeout: 300_000 }, async () => {
  const [one, two] = await Promise.all(
    [1, 2].map(async (workers) => {
      const files = sweepFile(workers);
      const options = { ...files, workers, policy: parseFailurePolicy('stop'), previousFailures: 0, ttl: 60_000, signal: new AbortController().signal };
      assert.equal(await runLocally({ ...options, onFailed: (_, { error }) => assert.fail(error) }), true);
      return collectRecords(await loadSweep(files.file), files.out);
    }),
  );
  assert.deepEqual([one, two].map((records) => new Set(records.map(({ worker }) => worker)).size), [1, 2]);
  const results = (records: typeof one) => records.map(({ trial, result }) => [trial, result]);
  assert.deepEqual(results(two), results(one));
  assert.equal(new Set(one.map(({ result }) => result)).size, 4, 'every trial ends with weights of its own');
});
