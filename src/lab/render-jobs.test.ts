import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { planSweep, type Plan } from './plan.js';
import { openIndices, renderKubernetes, renderParallel } from './render-jobs.js';
import type { Sweep } from './sweep.js';
import type { WorkerOrder } from './worker.js';

const folder = mkdtempSync(join(tmpdir(), 'dreamllm-render-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const sweep: Sweep = { name: 'Some Sweep', question: 'Does it run\nelsewhere?', base: { width: 0 }, grid: { width: [1, 2, 3] }, seeds: [0, 1], train: async () => {}, measurements: { m: { run: async () => 1 } } };
const all = planSweep(sweep, join(folder, 'nothing'), 2);
/** The plan when the second and the fourth trial are done. */
const plan: Plan = { ...all, finished: [all.trials[1], all.trials[3]] };
const options = { file: "/data/it's here/sweep.ts", out: '/data/out', attempts: 2 };

describe('a rendered sweep', () => {
  test('leaves finished trials out', () => assert.deepEqual(openIndices(plan), [0, 2, 4, 5]));

  test('for GNU parallel is a shell command a line that orders one trial each', () => {
    const lines = renderParallel(plan, options).trimEnd().split('\n');
    const orders = lines.map((line): WorkerOrder => {
      const last = execFileSync('bash', ['-c', `set -- ${line}\nprintf %s "\${@: -1}"`], { encoding: 'utf8' });
      return JSON.parse(last) as WorkerOrder;
    });
    assert.deepEqual(orders.map(({ only }) => only), [[0], [2], [4], [5]]);
    assert.deepEqual([...new Set(orders.map(({ file }) => file))], [options.file]);
    assert.equal(new Set(orders.map(({ worker }) => worker)).size, 4);
    for (const line of lines) assert.match(line, /worker-process/);
  });

  test('for Kubernetes is an Indexed Job whose pods find their trial by index', () => {
    const yaml = renderKubernetes(sweep, plan, { ...options, image: 'lab/dreamllm:1', volumeClaim: 'data', mountPath: '/data', workers: 3 });
    const field = (name: string) => new RegExp(`^ *${name}: (.+)$`, 'm').exec(yaml)?.[1];
    assert.deepEqual(
      ['apiVersion', 'kind', 'completionMode', 'completions', 'parallelism', 'backoffLimitPerIndex', 'restartPolicy', 'claimName', 'mountPath'].map(field),
      ['batch/v1', 'Job', 'Indexed', '4', '3', '2', 'Never', '"data"', '"/data"'],
    );
    assert.match(field('name')!, /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/);

    // The script that a pod runs, with a node that prints what it is given.
    const block = yaml.slice(yaml.indexOf('- |\n') + 4, yaml.indexOf('          resources:'));
    const script = block.split('\n').map((line) => line.slice(14)).join('\n');
    const bin = join(folder, 'bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, 'node'), '#!/bin/sh\nprintf "%s\\n%s" "$1" "$2"\n');
    chmodSync(join(bin, 'node'), 0o755);
    const run = (index: number) => execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8', env: { PATH: `${bin}:/usr/bin:/bin`, HOSTNAME: `pod-${index}`, JOB_COMPLETION_INDEX: String(index) } }).split('\n');
    for (const [index, position] of [0, 2, 4, 5].entries()) {
      const [program, text] = run(index);
      assert.equal(program, '/opt/dreamllm/dist/lab/worker-process.js');
      const order = JSON.parse(text) as WorkerOrder;
      assert.deepEqual([order.only, order.worker, order.file], [[position], `kubernetes.pod-${index}`, options.file]);
    }
  });

  test('with nothing left is no Job', () => {
    assert.throws(() => renderKubernetes(sweep, { ...all, finished: all.trials }, { ...options, image: 'i', volumeClaim: 'v', mountPath: '/data', workers: 1 }), /nothing left/);
  });
});
