import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, describe, test } from 'node:test';
import { packageRoot } from '../core/process.js';
import { paperTableNames } from './paper.js';
import { committedRecords } from './committed.js';
import { reproduce, tableFiles } from './reproduce.js';

const folder = mkdtempSync(join(tmpdir(), 'dreamllm-reproduce-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Records of the guidance sweep as it writes them, and of a synergy sweep that lacks an arm on one seed. */
function records(): void {
  const line = (sweep: string, config: object, seed: number, values: Record<string, number>, protocol = {}) =>
    JSON.stringify({
      sweep, trial: 't', config, seed, measurement: 'creation', hash: 'h', seconds: 1, worker: 'w', token: 1,
      result: Object.entries(values).map(([metric, value]) => ({ metric, value, n: 256, protocol: { modelScale: 'nano', ...protocol } })),
    });
  const write = (name: string, lines: string[]) => {
    mkdirSync(join(folder, 'experiments', name), { recursive: true });
    writeFileSync(join(folder, 'experiments', name, 'results.jsonl'), `${lines.join('\n')}\n`);
  };
  write('guidance-scale', [0, 1].flatMap((seed) => [1, 2, 4].map((guidanceScale) => line('guidance-scale', { guidanceScale }, seed, { fid: 20 + seed + guidanceScale, 'clip-score': 20 + guidanceScale }, { guidanceScale }))));
  write('dream-queries', [0, 1, 2].flatMap((seed) => [8, 16].map((numDreamQueries) => line('dream-queries', { numDreamQueries }, seed, { fid: 40 - numDreamQueries + seed + 0.1 * seed * numDreamQueries }))));
  write('synergy', [line('synergy', { arm: 'joint', interleaved: true }, 0, { fid: 1 }), line('synergy', { arm: 'joint', interleaved: true }, 1, { fid: 2 }), line('synergy', { arm: 'creation-only', interleaved: true }, 0, { fid: 1 })]);
}

function* files(root: string, at = root): Generator<[string, Buffer]> {
  for (const name of readdirSync(at).sort()) {
    const path = join(at, name);
    if (statSync(path).isDirectory()) yield* files(root, path);
    else yield [relative(root, path), readFileSync(path)];
  }
}

describe('reproduce', () => {
  test('makes every table and figure that the records allow, to the same bytes a second time, and names the rest', { timeout: 120_000 }, async () => {
    records();
    const [experiments, out] = [join(folder, 'experiments'), join(folder, 'out')];
    const { files: made, missing } = await reproduce({ experiments, out });
    for (const name of paperTableNames()) assert.ok(made.includes(`tables/${name}.md`) && made.includes(`tables/${name}.tex`), name);
    for (const name of ['guidance-scale-fid', 'guidance-scale-front', 'dream-queries-fid', 'paper-latency']) assert.ok(made.includes(`figures/${name}.svg`), name);
    assert.match(readFileSync(join(out, 'tables/table9a_dream_query_count.md'), 'utf8'), /\| 9\.56 .*\| 3 seeds \| a \| (reproduced trend|within noise|contrary) \|/);
    assert.match(readFileSync(join(out, 'figures/guidance-scale-fid.svg'), 'utf8'), /^<svg.*FID against guidance/s);
    assert.ok(missing.some((each) => each.startsWith('experiments/latency/results.jsonl: not run yet')));
    assert.ok(missing.some((each) => /figure synergy-fid-difference: .*not paired/.test(each)), missing.join('\n'));
    assert.ok(missing.some((each) => each.includes('main-job/result.json')));

    cpSync(out, join(folder, 'first'), { recursive: true });
    await reproduce({ experiments, out });
    assert.deepEqual([...files(out)], [...files(join(folder, 'first'))]);
    assert.ok(existsSync(join(out, 'README.md')));
  });

  test('gives the committed tables from the committed records, byte for byte (remedy: npm run reproduce)', () => {
    const experiments = join(packageRoot(), 'experiments');
    for (const [name, text] of tableFiles(committedRecords(experiments))) assert.equal(readFileSync(join(experiments, 'reproduced', name), 'utf8'), text, name);
  });
});
