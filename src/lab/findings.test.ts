import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { findingsMarkdown } from './findings.js';
import type { TrialRecord } from './trial.js';

const sweep = { name: 'guidance-scale', base: { guidanceScale: 2, kept: true }, grid: { guidanceScale: [1, 2, 4] }, seeds: [0, 1, 2] };
const findings = [{ metric: 'fid', title: 'FID', better: 'lower' }, { metric: 'clip-score' }] as const;
const file = { name: 'results.jsonl', bytes: new TextEncoder().encode('abc') };
const record = (guidanceScale: number, seed: number, fid: number, score: number): TrialRecord => ({
  sweep: 'guidance-scale', trial: `${guidanceScale} ${seed}`, config: { guidanceScale, kept: true }, seed, measurement: 'creation', hash: 'h', seconds: 1, worker: 'w', token: 1,
  result: [
    { metric: 'fid', value: fid, n: 256, protocol: { extractor: 'inception', guidanceScale } },
    { metric: 'clip-score', value: score, n: 256, protocol: { extractor: 'clip', guidanceScale } },
  ],
});
const all = [0, 1, 2].flatMap((seed) => [record(1, seed, 40 + seed + 0.1 * seed, 20 + seed), record(2, seed, 30 + seed, 20 + 2 * seed), record(4, seed, 20 + seed - 0.1 * seed, 21 - seed)]);

describe('the findings of a sweep', () => {
  const told = findingsMarkdown(sweep, findings, all, file);

  test('give each configuration its mean, interval and difference to the base, paired by seed', () => {
    assert.match(told, /^9 of 9 trials, seeds 0, 1, 2; \[results\.jsonl\]\(results\.jsonl\), SHA-256 `ba7816bf8f01cfea`/);
    assert.match(told, /\| guidanceScale \| FID ↓ \| clip-score \|\n/);
    // Mean of 40, 41.1, 42.2; deviation 1.1, t(2) at 97.5 % is 4.303: half-width 2.733.
    assert.match(told, /\| 1 \| 41\.100 ± 2\.733 \(\+10\.100, p = 6\.5e-5\) \|/);
    assert.match(told, /\| \*\*2\*\* \| 31\.000 ± 2\.484 \|/);
  });

  test('say in words which differences stand out, and which way is better', () => {
    assert.match(told, /- FID: 1 is worse, 4 is better than 2\./);
    assert.match(told, /- clip-score: no configuration can be told from 2/);
  });

  test('name the fields of the protocol that the settings change', () => {
    assert.match(told, /Protocol of FID: extractor inception, guidanceScale by row \(1 \/ 2 \/ 4\)\./);
  });

  test('say of a model that is the same in every seed that it does not vary', () => {
    const same = findingsMarkdown(sweep, [findings[0]], [0, 1, 2].flatMap((seed) => [record(1, seed, 30.1, 20), record(2, seed, 30 + seed, 20)]), file);
    assert.match(same, /\| 1 \| 30\.100 ± 0 \(−0\.900/);
  });

  test('say what is missing, and compare nothing with one seed', () => {
    const partly = findingsMarkdown(sweep, findings, [record(1, 0, 40, 20), record(2, 0, 30, 20)], file);
    assert.match(partly, /^2 of 9 trials, seeds 0;/);
    assert.match(partly, /\| 4 \| – \| – \|/);
    assert.match(partly, /\| 1 \| 40\.000 \(one seed\) \|/);
    assert.match(partly, /FID: no configuration can be compared with 2 yet/);
    assert.match(findingsMarkdown(sweep, [...findings, { metric: 'cider-d', title: 'CIDEr-D', better: 'higher' }], all, file), /\| FID ↓ \| clip-score \|\n[^]*- CIDEr-D ↑: not measured yet\./);
  });
});
