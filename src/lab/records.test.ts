import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { pairedTest } from '../eval/statistics.js';
import {
  abilitiesFromRecords, barsFromRecords, curveFromRecords, differencesFromRecords, lossesFromRecords, paretoFromRecords, queryMapsFromRecords, radarFromRecords, samplesFromRecords,
} from './figures/from-records.js';
import { paretoFront } from './figures/pareto.js';
import { sampleGrid } from './figures/sample-grid.js';
import { planSeeds } from './pilot.js';
import { groupsOf, pairedValues, protocolDoubts, readRecords } from './records.js';
import type { TrialRecord } from './trial.js';

const folder = mkdtempSync(join(tmpdir(), 'dreamllm-records-'));
after(() => rmSync(folder, { recursive: true, force: true }));

type Values = Record<string, number>;
const record = (config: Record<string, unknown>, seed: number, values: Values, protocol = {}): TrialRecord => ({
  sweep: 's', trial: `${JSON.stringify(config)}-${seed}`, config, seed, measurement: 'm', hash: '', seconds: 1, worker: 'w', token: 1,
  result: Object.entries(values).map(([metric, value]) => ({ metric, value, n: 10, protocol: { modelScale: 'nano', ...protocol } })),
});

/** FID falls and rises with guidance, CLIP score rises; seeds shift all settings alike. */
const guidance = [0, 1, 2].flatMap((seed) => [1, 2, 4].map((scale) => record({ scale }, seed, { fid: 10 + (scale - 2) ** 2 + seed, score: scale / 10 }, { guidanceScale: scale })));
const arms = [[3, 5], [4, 7], [5, 6]].flatMap(([a, b], seed) => [record({ arm: 'joint' }, seed, { fid: a, acc: 0.5 }), record({ arm: 'alone' }, seed, { fid: b, acc: 0.4 })]);

describe('records', () => {
  test('are read from a file, and a broken line is named', () => {
    const file = join(folder, 'results.jsonl');
    writeFileSync(file, `${guidance.map((each) => JSON.stringify(each)).join('\n')}\n`);
    assert.deepEqual(readRecords(file), guidance);
    writeFileSync(file, `${JSON.stringify(guidance[0])}\n{"sweep":`);
    assert.throws(() => readRecords(file), /line 2/);
    assert.throws(() => readRecords(join(folder, 'none.jsonl')), /dreamllm sweep/);
  });

  test('are grouped by settings, and repeated seeds, mixed protocols and unknown names are refused', () => {
    assert.deepEqual(groupsOf(guidance, ['scale'], { metric: 'fid' }).map(({ settings, bySeed }) => [settings.scale, [...bySeed.values()].map(({ value }) => value)]), [[1, [11, 12, 13]], [2, [10, 11, 12]], [4, [14, 15, 16]]]);
    assert.throws(() => groupsOf(guidance, [], { metric: 'fid' }), /two values for \{\} and seed 0/);
    const mixed = [record({ arm: 'joint' }, 0, { fid: 1 }, { steps: 20 }), record({ arm: 'joint' }, 1, { fid: 1 }, { steps: 50 })];
    assert.throws(() => groupsOf(mixed, ['arm'], { metric: 'fid' }), /protocols differ/);
    assert.throws(() => groupsOf(arms, ['arm'], { metric: 'kid' }), /There are fid, acc/);
    assert.throws(() => groupsOf(arms, ['width'], { metric: 'fid' }), /no setting "width"/);
  });

  test('are paired only when both sides have the same seeds', () => {
    const [joint, alone] = groupsOf(arms, ['arm'], { metric: 'fid' });
    assert.deepEqual(pairedValues(joint, alone), { seeds: [0, 1, 2], a: [3, 4, 5], b: [5, 7, 6] });
    const [one, other] = groupsOf(arms.slice(0, -1), ['arm'], { metric: 'fid' });
    assert.throws(() => pairedValues(one, other), /not paired: seeds 2/);
  });

  test('of settings that were measured otherwise carry a doubt, unless the sweep varies just that', () => {
    const groups = groupsOf(guidance, ['scale'], { metric: 'fid' });
    assert.deepEqual(protocolDoubts(groups), ['guidanceScale']);
    assert.deepEqual(protocolDoubts(groups.map((group) => ({ ...group, settings: { guidanceScale: group.settings.scale } }))), []);
  });
});

describe('figures from records', () => {
  test('show means over seeds, with their interval and doubts said', () => {
    const { data, layout } = curveFromRecords(guidance, { metric: 'fid', x: 'scale' });
    const line = data.at(-1) as { x: number[]; y: number[] };
    assert.deepEqual([line.x, line.y], [[1, 2, 4], [12, 11, 15]]);
    assert.match((layout.title as { text: string }).text, /nano; 3 seeds each, 95 % Student t; protocols also differ in guidanceScale/);
    const [bar] = barsFromRecords(arms, { metric: 'fid', x: 'arm' }).data as { y: number[]; error_y: object }[];
    assert.deepEqual(bar.y, [4, 6]);
    assert.ok(bar.error_y);
  });

  test('draw differences as the paired test has them, and refuse one seed', () => {
    const { data } = differencesFromRecords(arms, { metric: 'fid', by: 'arm', against: 'joint' });
    const [seeds, mean] = data as { y: number[]; error_y: { array: number[] } }[];
    assert.deepEqual(seeds.y, [2, 3, 1]);
    assert.equal(mean.y[0], 2);
    assert.ok(Math.abs(mean.error_y.array[0] - (pairedTest([3, 4, 5], [5, 7, 6]).ci.high - 2)) < 1e-12);
    assert.throws(() => differencesFromRecords(arms.slice(0, 2), { metric: 'fid', by: 'arm', against: 'joint' }), /one seed/);
    assert.throws(() => differencesFromRecords(arms, { metric: 'fid', by: 'arm', against: 'none' }), /joint, alone/);
  });

  test('know the front of two metrics, and a radar its range', () => {
    const front = paretoFront([{ x: 1, y: 1 }, { x: 2, y: 3 }, { x: 3, y: 2 }, { x: 2, y: 3 }]);
    assert.deepEqual(front, [{ x: 1, y: 1 }, { x: 2, y: 3 }, { x: 2, y: 3 }]);
    const [points] = paretoFromRecords(guidance, { x: 'fid', y: 'score', by: 'scale' }).data as { text: string[]; marker: { color: string[] } }[];
    assert.deepEqual(points.text, ['1', '2', '4']);
    assert.equal(points.marker.color[0], '#999999');
    assert.throws(() => radarFromRecords(arms, { metrics: ['acc', 'fid', 'acc'], by: 'arm' }), /between 0 and 1/);
  });

  const detailed = (config: Record<string, unknown>, seed: number, metric: string, details: object): TrialRecord => ({
    ...record(config, seed, {}), result: [{ metric, value: 0.5, n: 10, protocol: { modelScale: 'nano' }, details }],
  });

  test('draw losses with a band over seeds, and refuse seeds that were logged at other steps', () => {
    const loss = (seed: number, step: number[], lm: number[]) => detailed({ share: 1 }, seed, 'last-loss', { curve: { step, lm } });
    const [band, line] = lossesFromRecords([loss(0, [5, 10], [3, 2]), loss(1, [5, 10], [5, 2])], { by: 'share', loss: 'lm' }).data as { x: number[]; y: number[]; fill?: string }[];
    assert.equal(band.fill, 'toself');
    assert.deepEqual([line.x, line.y], [[5, 10], [4, 2]]);
    assert.throws(() => lossesFromRecords([loss(0, [5, 10], [3, 2]), loss(1, [5, 11], [5, 2])], { by: 'share', loss: 'lm' }), /different steps/);
    assert.throws(() => lossesFromRecords([detailed({ share: 1 }, 0, 'last-loss', {})], { by: 'share', loss: 'lm' }), /lacks details.curve/);
  });

  test('average abilities over seeds, an arm a polygon', () => {
    const abilities = (arm: string, seed: number, accuracy: number) => detailed({ arm }, seed, 'mmbench-circular', { abilities: { l2: { reading: { accuracy }, counting: { accuracy: 0 }, naming: { accuracy: 1 } } } });
    const made = abilitiesFromRecords([abilities('a', 0, 0.2), abilities('a', 1, 0.6), abilities('b', 0, 1), abilities('b', 1, 1)], { by: 'arm' }).data as { name: string; r: number[]; theta: string[] }[];
    assert.deepEqual(made.map(({ name, r }) => [name, r]), [['a', [0.4, 0, 1, 0.4]], ['b', [1, 0, 1, 1]]]);
  });

  test('set samples of the same prompts side by side, and refuse those of others', () => {
    const samples = (by: number, prompt: string) => detailed({ by }, 3, 'fid', { samples: [{ prompt, png: Buffer.from([by]).toString('base64') }] });
    const { layout } = samplesFromRecords([samples(1, 'a cat'), samples(2, 'a cat')], { by: 'by' });
    assert.deepEqual(layout.images?.map(({ source }) => source), ['data:image/png;base64,AQ==', 'data:image/png;base64,Ag==']);
    assert.throws(() => samplesFromRecords([samples(1, 'a cat'), samples(2, 'a dog')], { by: 'by' }), /other prompts/);
    assert.throws(() => samplesFromRecords([samples(1, 'a cat')], { by: 'by', seed: 0 }), /no seed 0; it has 3/);
  });

  test('lay out the maps of queries with a free line between them, each up to its largest', () => {
    const maps = [[[0.1, 0.2], [0.3, 0.4]], [[1, 0], [0, 0]], [[0, 0], [0, 2]]];
    const [{ z }] = queryMapsFromRecords([detailed({}, 0, 'map-entropy', { maps })]).data as unknown as { z: (number | null)[][] }[];
    assert.deepEqual(z.map((row) => row.map((value) => value && Number(value.toFixed(3)))), [
      [0.25, 0.5, null, 1, 0], [0.75, 1, null, 0, 0], [null, null, null, null, null], [0, 0, null, null, null], [0, 1, null, null, null],
    ]);
  });

  test('place pictures in a grid and leave missing ones out', () => {
    const { layout } = sampleGrid('t', ['a', 'b'], ['1', '2'], (row, column) => (row === column ? new Uint8Array([1]) : undefined));
    assert.deepEqual(layout.images?.map(({ x, y }) => [x, y]), [[-0.46, -0.46], [0.54, 0.54]]);
  });
});

describe('a pilot', () => {
  test('says what the planned seeds can show, and how many the wanted difference takes', () => {
    const [sentence, ...more] = planSeeds(arms, { metric: 'fid', by: 'arm', against: 'joint', seeds: 5, difference: 0.5 });
    assert.equal(more.length, 0);
    assert.match(sentence, /^fid, arm alone against joint: With 5 seeds you can see a difference of 1\.\d+ \(80 % power.*paired, spread 1\.00\)\. A difference of 0\.5 takes 34\. The spread itself is a guess from 3 pairs\.$/);
  });
  test('without pairs, spread or a second arm is refused', () => {
    assert.throws(() => planSeeds(arms.slice(0, 2), { metric: 'fid', by: 'arm', seeds: 5 }), /has 1 seed/);
    assert.throws(() => planSeeds(guidance, { metric: 'fid', by: 'scale', seeds: 3 }), /all differences of the pilot are equal/);
    assert.throws(() => planSeeds(arms.filter(({ config }) => config.arm === 'joint'), { metric: 'fid', by: 'arm', seeds: 5 }), /two values of "arm"/);
  });
});
