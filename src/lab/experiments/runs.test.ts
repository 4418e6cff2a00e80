import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { column, type Measurement } from '../../eval/protocol.js';
import type { Config, Sweep } from '../sweep.js';
import { trials } from '../sweep.js';
import * as experiments from './index.js';

const folder = mkdtempSync(join(tmpdir(), 'dreamllm-runs-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const shared = join(folder, 'shared');

/** Two steps a stage (the first has no learning rate) and the smallest samples: their numbers mean nothing, but everything runs on nano and its committed foundation. */
const tiny = { steps: 2, seeds: [0], sizes: { pictures: 4, perAbility: 1, questions: 4 } };

/** Trains and measures the chosen trials of a sweep; all sweeps here have their stages in common. */
async function results<C extends Config>(sweep: Sweep<C>, chosen: (config: C) => boolean = () => true): Promise<{ config: C; measured: Measurement[] }[]> {
  const made: { config: C; measured: Measurement[] }[] = [];
  for (const { config, seed, hash } of trials(sweep).filter((trial) => chosen(trial.config))) {
    const context = { folder: join(folder, sweep.name, hash), shared, signal: new AbortController().signal, log: () => undefined };
    mkdirSync(context.folder, { recursive: true });
    await sweep.train(config, seed, context);
    const before = tf.memory().numTensors;
    const measured: Measurement[] = [];
    for (const { run } of Object.values(sweep.measurements)) measured.push(...((await run(config, seed, context)) as Measurement[]));
    assert.equal(tf.memory().numTensors, before, `${sweep.name} ${JSON.stringify(config)} leaks tensors`);
    made.push({ config, measured });
  }
  return made;
}

const value = (measured: readonly Measurement[], metric: string): Measurement => {
  const found = measured.find((each) => each.metric === metric);
  assert.ok(found, `${metric} among ${measured.map((each) => each.metric).join(', ')}`);
  return found;
};
const regressed = (stage: string) => readFileSync(join(shared, 'stages', stage, 'config.json'), 'utf8').includes('"regression"');
const stages = () => readdirSync(join(shared, 'stages')).filter((name) => /^(alignment|i-gpt|sft)/.test(name) && !name.endsWith('.claim'));

describe('an experiment', { timeout: 1_200_000 }, () => {
  test('on rewriting draws one prompt four ways, and trains only what nano trains', async () => {
    const made = await results(experiments.rewriteThenGenerate(tiny));
    assert.deepEqual(made.map(({ config }) => config.pipeline), ['end-to-end', 'rewrite', 'text', 'stage-I']);
    const prompts = made.map(({ measured }) => (value(measured, 'fid').details as { samples: { prompt: string }[] }).samples.map(({ prompt }) => prompt));
    for (const each of prompts) assert.deepEqual(each, prompts[0]);
    const written = (value(made[1].measured, 'kept-object').details as { examples: { prompt: string; written: string }[] }).examples;
    assert.equal(written.length, 4);
    assert.deepEqual(stages().map((name) => name.replace(/-[0-9a-f]{16}$/, '')).sort(), ['alignment-comprehension', 'alignment-creation', 'i-gpt', 'sft']);
  });

  test('on few shots asks the same questions with more and more before them, of the model that is there', async () => {
    const before = stages();
    const made = await results(experiments.fewShot(tiny), ({ shots }) => shots === 0 || shots === 4);
    assert.deepEqual(made.map(({ measured }) => [value(measured, 'vqa-accuracy').protocol.shots, value(measured, 'vqa-accuracy').n]), [[0, 4], [4, 4], [4, 4]]);
    assert.throws(() => column(made.map(({ measured }) => measured[0])), /shots/);
    assert.deepEqual(stages(), before);
  });

  test('on language asks both models the same without pictures', async () => {
    const made = await results(experiments.languageRetention(tiny));
    assert.deepEqual(made.map(({ measured }) => measured.map(({ metric, n }) => [metric, n])), [0, 1].map(() => [['definition-accuracy', 2], ['log-likelihood-per-token', 2]]));
    assert.notEqual(value(made[0].measured, 'log-likelihood-per-token').value, value(made[1].measured, 'log-likelihood-per-token').value);
  });

  test('on pictures of documents draws each in its place and from its sentence', async () => {
    const made = await results(experiments.documentPictures(tiny));
    const shown = made.map(({ measured }) => (value(measured, 'fid').details as { samples: { prompt: string; png: string }[] }).samples);
    assert.deepEqual(shown[0].map(({ prompt }) => prompt), shown[1].map(({ prompt }) => prompt));
    assert.equal(shown[0].length, 4);
    assert.notEqual(shown[0][0].png, shown[1][0].png);
  });

  test('on many pictures reads documents of just so many, and trains on long ones once', async () => {
    const made = await results(experiments.manyImages(tiny), ({ pictures }) => pictures === 2 || pictures === 5);
    for (const { config, measured } of made) {
      const { n, details } = value(measured, 'dream-token-f1');
      const { documents, leftOut } = details as { documents: number; leftOut: number };
      assert.equal(n, config.pictures * documents);
      assert.equal(documents + leftOut, 1);
    }
    assert.equal(stages().filter((name) => name.startsWith('sft')).length, 2);
    assert.equal(stages().filter((name) => name.startsWith('alignment')).length, 2);
  });

  test('on pictures in context withholds and exchanges the given one', async () => {
    const made = await results(experiments.inContext(tiny), ({ trained, task, given }) => (trained === 'default' && task === 'recolor') || given === 'other');
    assert.deepEqual(made.map(({ measured }) => value(measured, 'identification').protocol.given).slice(0, 3), ['own picture', 'other picture', 'no picture']);
    for (const { config, measured } of made) assert.equal(measured.some(({ metric }) => metric === 'ink-identification'), config.task === 'recolor');
    const pictures = made.slice(0, 3).map(({ measured }) => JSON.stringify((value(measured, 'identification').details as { samples: object }).samples));
    assert.equal(new Set(pictures).size, 3, 'each is drawn from what it was given');
  });

  test('on queries keeps a map, a cost and a rank for each of them', async () => {
    const [{ measured }] = await results(experiments.queryMicroscope(tiny), ({ stage }) => stage === 'alignment-creation');
    const { maps } = value(measured, 'map-entropy').details as { maps: number[][][] };
    assert.deepEqual([maps.length, maps[0].length, maps[0][0].length], [16, 8, 8]);
    const total = maps.reduce((sum, map) => sum + map[3][4], 0);
    assert.ok(Math.abs(total - 1) < 2e-3, `shares of attention add up to ${total}`);
    assert.equal((value(measured, 'query-ablation').details as { rise: number[] }).rise.length, 16);
    const rank = value(measured, 'effective-rank');
    assert.ok(rank.value >= 1 && rank.value <= 16, String(rank.value));
  });

  test('on regression fits CLIP states without the U-Net, and measures like the rest', async () => {
    const made = await results(experiments.clipRegression(tiny), ({ objective }) => objective !== 'raw-space');
    assert.deepEqual(made.map(({ measured }) => value(measured, 'fid').n), [4, 4]);
    assert.equal(made[1].measured.some(({ metric }) => metric === 'vqa-accuracy'), false);
    assert.equal(stages().filter((name) => regressed(name) && name.startsWith('alignment-creation')).length, 1);
    assert.equal(stages().filter((name) => regressed(name) && name.startsWith('alignment-comprehension')).length, 0);
  });

  test('on language models pretrains the size that it asks for, once', async () => {
    const sweep = experiments.languageScale(tiny);
    const [{ measured }] = await results(sweep, ({ scale }) => scale === 0.5);
    const parameters = value(measured, 'language-parameters').value;
    assert.ok(parameters > 100_000 && parameters < 1_500_000, String(parameters));
    assert.equal(value(measured, 'language-perplexity').protocol.pretrainingSteps, tiny.steps);
    assert.equal(readdirSync(join(shared, 'stages')).filter((name) => /^language-[0-9a-f]{16}$/.test(name)).length, 1);
  });

  test('on synergy has an arm with the alignment loss, apart from the joint one', async () => {
    const chosen = trials(experiments.synergy(tiny)).filter(({ config }) => String(config.arm).startsWith('joint') && config.interleaved);
    assert.deepEqual(chosen.map(({ config }) => config.arm), ['joint', 'joint-alignment']);
    const sweep = experiments.synergy(tiny);
    const ofStageI = () => stages().filter((name) => name.startsWith('alignment'));
    const trained: string[][] = [];
    for (const { config } of chosen) {
      await sweep.train(config, 0, { folder, shared, signal: new AbortController().signal, log: () => undefined });
      trained.push(ofStageI());
    }
    assert.deepEqual(trained[1], trained[0], 'stage I is shared by the arms');
  });
});
