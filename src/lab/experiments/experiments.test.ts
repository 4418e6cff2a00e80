import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { useBackend } from '../../core/backend.js';
import { packageRoot } from '../../core/process.js';
import { caption } from '../../data/captions.js';
import { renderScene } from '../../data/scenes.js';
import { testScenes } from '../../eval/nano/creation.js';
import { defaultTestSet } from '../../eval/nano/comprehension.js';
import { generatedSources } from '../../train/sources.js';
import { findingsMarkdown } from '../findings.js';
import { loadSweep } from '../load-sweep.js';
import { nanoClipJudge } from '../measure-nano.js';
import { describePlan, planSweep } from '../plan.js';
import { paperTableNames } from '../paper.js';
import { paperComparison } from '../paper-tables.js';
import { experimentNames } from '../reproduce.js';
import { trials } from '../sweep.js';
import type { TrialRecord } from '../trial.js';
import { sweepFigures } from './figures.js';
import { sweepFindings } from './findings.js';
import { measureMatch } from './document-pictures.js';
import * as experiments from './index.js';
import type { Recipe } from './nano.js';

const out = mkdtempSync(join(tmpdir(), 'dreamllm-experiments-'));
after(() => rmSync(out, { recursive: true, force: true }));
const root = join(packageRoot(), 'experiments');

/** Trials of each folder's sweep: configurations times seeds. */
const planned: Record<string, number> = {
  'best-of-k': 4 * 3,
  'clip-regression': 3 * 3,
  'comprehension-creation-ratio': 5 * 2 * 3,
  'data-noise': 4 * 3,
  'document-pictures': 2 * 3,
  'dream-queries': 4 * 3,
  'few-shot': 5 * 3,
  'guidance-scale': 6 * 3,
  'in-context': 2 * 2 * 3 * 3,
  'language-retention': 2 * 3,
  'language-scale': 3 * 3,
  latency: 2 * 3 * 3,
  'many-images': 2 * 5 * 3,
  'query-microscope': 3 * 3,
  'rewrite-then-generate': 4 * 3,
  'sampling-steps': 4 * 3,
  synergy: (3 * 2 + 1) * 5,
  'training-length': 4 * 3,
};

describe('the experiments', () => {
  test('are planned from their files, each with its trials, figures and a README that says how to run it', async () => {
    assert.deepEqual(experimentNames(root), Object.keys(planned));
    assert.deepEqual(Object.keys(sweepFigures), Object.keys(planned));
    assert.deepEqual(Object.keys(sweepFindings), Object.keys(planned));
    for (const [name, count] of Object.entries(planned)) {
      const sweep = await loadSweep(join(root, name, 'sweep.ts'));
      assert.equal(sweep.name, name);
      const plan = planSweep(sweep, join(out, name), 1);
      assert.deepEqual([plan.trials.length, plan.toTrain.length], [count, count], name);
      assert.match(describePlan(sweep, plan, 1), /0 cached.*about/);
      const readme = readFileSync(join(root, name, 'README.md'), 'utf8');
      assert.ok(readme.includes(`dreamllm sweep experiments/${name}/sweep.ts --out`), name);
      assert.equal(readme.includes('has not been run'), !existsSync(join(root, name, 'results.jsonl')), `${name}: README and results.jsonl disagree on whether it was run`);
    }
  });

  test('ask only for data that can be generated', async () => {
    for (const name of Object.keys(planned)) {
      const sweep = await loadSweep(join(root, name, 'sweep.ts'));
      for (const { config, seed } of trials(sweep)) {
        const { changes = {} } = (sweep.recipe?.(config, seed) ?? {}) as Recipe;
        for (const { data } of Object.values(changes)) if (data) assert.equal(generatedSources(data, 0).length, Object.keys(data).length);
      }
    }
  });

  test('name a trial by what its settings come to', () => {
    const hashes = trials(experiments.dataNoise()).map(({ hash }) => hash);
    assert.equal(new Set(hashes).size, hashes.length);
    assert.deepEqual(trials(experiments.dataNoise()).map(({ hash }) => hash), hashes);
    assert.notDeepEqual(trials(experiments.dataNoise({ steps: 2 })).map(({ hash }) => hash), hashes);
    const [full] = trials(experiments.guidanceScale());
    const [small] = trials(experiments.guidanceScale({ sizes: { pictures: 8, perAbility: 1, questions: 8 } }));
    assert.equal(small.hash, full.hash);
    assert.notEqual(small.measurements.creation, full.measurements.creation);
  });

  test('draw every figure and tell every finding they declare from records of all their trials', async () => {
    const metrics = [
      'fid', 'clip-score', 'identification', 'vqa-accuracy', 'mmbench-circular', 'dream-token-f1', 'seconds-per-picture', 'effective-rank', 'prompt-share', 'query-ablation', 'map-entropy',
      'definition-accuracy', 'log-likelihood-per-token', 'language-perplexity', 'last-loss', 'cider-d', 'diffusion-loss', 'clip-match',
    ];
    const details = {
      samples: [{ prompt: 'a cat', png: 'AQ==' }], maps: [[[1, 0], [0, 0]]], curve: { step: [1, 2], lm: [2, 1], diffusion: [1, 0.5] },
      abilities: { l2: { a: { accuracy: 0.1 }, b: { accuracy: 0.2 }, c: { accuracy: 0.3 } } },
    };
    for (const name of Object.keys(planned)) {
      const records = trials(await loadSweep(join(root, name, 'sweep.ts'))).map(({ hash, config, seed }, i): TrialRecord => ({
        sweep: name, trial: hash, config, seed, measurement: 'm', hash, seconds: 1, worker: 'w', token: 1,
        result: metrics.flatMap((metric) =>
          (metric === 'clip-match' ? ['the matched sentence', 'full caption'] : ['any']).map((captionPolicy) => ({
            metric, value: ((i * 7) % 11) / 11 + seed / 100, n: 10, protocol: { matcher: 'log-likelihood of the options', picture: true, how: 'zero', captionPolicy }, details,
          })),
        ),
      }));
      for (const [figure, draw] of Object.entries(sweepFigures[name])) {
        const { data } = draw(records);
        assert.ok(data.length > 0, `${name} ${figure}`);
      }
      const told = findingsMarkdown(await loadSweep(join(root, name, 'sweep.ts')), sweepFindings[name], records, { name: 'results.jsonl', bytes: new Uint8Array() });
      assert.ok(told.startsWith(`${records.length} of ${planned[name]} trials`) && !/\| – \|/.test(told), told);
    }
  });

  test('answer values that the paper prints', () => {
    for (const { paperTable } of experiments.declaredTables) assert.ok(paperTableNames().includes(paperTable), paperTable);
    for (const name of paperTableNames()) {
      const { rows } = paperComparison(name, experiments.declaredTables, []);
      assert.ok(rows.every(({ project, state }) => project === undefined && (state === 'not run' || state === 'setting, not a result')), name);
    }
  });

  test('tell pictures that match their texts from pictures that do not', async () => {
    await useBackend();
    const judge = nanoClipJudge();
    try {
      const scenes = testScenes(defaultTestSet, 24);
      const drawn = scenes.map((scene) => ({ width: 32, height: 32, data: renderScene(scene, 32) }));
      const texts = scenes.map((scene) => caption(scene, 'full'));
      const matched = await measureMatch({ drawn, protocol: {} }, texts, 'full caption', judge);
      assert.ok(matched.value > 20 && matched.ci!.low > 10, JSON.stringify(matched));
      const others = await measureMatch({ drawn, protocol: {} }, [...texts.slice(1), texts[0]], 'full caption', judge);
      assert.ok(Math.abs(others.value) < matched.value / 4, JSON.stringify(others));
    } finally {
      judge.dispose();
    }
  });
});
