import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { thisProcess } from '../train/lock.js';
import { onceForAll } from './once.js';

const root = mkdtempSync(join(tmpdir(), 'dreamllm-once-'));
after(() => rmSync(root, { recursive: true, force: true }));

const finish = (folder: string) => {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'result.json'), '{}');
};

describe('shared work', () => {
  test('is done by one of those who want it, and by nobody afterwards', async () => {
    const folder = join(root, 'shared');
    let runs = 0;
    const work = async () => {
      runs++;
      await new Promise((resolve) => setTimeout(resolve, 50));
      finish(folder);
    };
    await Promise.all([1, 2, 3].map(() => onceForAll(folder, { ttl: 1000 }, work)));
    await onceForAll(folder, {}, work);
    assert.equal(runs, 1);
  });

  test('that fails is free for the next', async () => {
    const folder = join(root, 'failing');
    await assert.rejects(onceForAll(folder, {}, async () => Promise.reject(new Error('lost a disk'))), /lost a disk/);
    await onceForAll(folder, {}, async () => finish(folder));
  });

  test('of a process that died on this machine is taken over at once, and of a living one is waited for', async () => {
    const folder = join(root, 'dead');
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    mkdirSync(`${folder}.claim`);
    writeFileSync(join(`${folder}.claim`, 'lease.1'), JSON.stringify({ worker: JSON.stringify({ host: hostname(), pid }), token: 1 }));
    const start = performance.now();
    await onceForAll(folder, { ttl: 60_000 }, async () => finish(folder));
    assert.ok(performance.now() - start < 5000);

    // Also one that was silent for long, as after the machine slept.
    const held = join(root, 'held');
    mkdirSync(`${held}.claim`);
    const lease = join(`${held}.claim`, 'lease.1');
    writeFileSync(lease, JSON.stringify({ worker: JSON.stringify(thisProcess()), token: 1 }));
    utimesSync(lease, new Date(1000), new Date(1000));
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 200);
    await assert.rejects(onceForAll(held, { ttl: 40, signal: controller.signal }, async () => assert.fail('ran beside a living holder')), /enough/);
  });

  test('of another machine is taken over when that has been silent', async () => {
    const folder = join(root, 'elsewhere');
    mkdirSync(`${folder}.claim`);
    writeFileSync(join(`${folder}.claim`, 'lease.1'), JSON.stringify({ worker: JSON.stringify({ host: 'another', pid: process.pid }), token: 1 }));
    const start = performance.now();
    await onceForAll(folder, { ttl: 400 }, async () => finish(folder));
    assert.ok(performance.now() - start > 200);
  });
});
