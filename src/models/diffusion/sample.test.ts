import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { useBackend } from '../../core/backend.js';
import { dreamSampler, scheduler } from './schedulers.js';
import { sample, seededDraws, seededNoise, type Predict, type SampleOptions } from './sample.js';

await useBackend();

const shape = [2, 2, 4] as const;
const condition = tf.ones([3, 1, 1]) as tf.Tensor3D;
const unconditional = tf.zeros([1, 1, 1]) as tf.Tensor3D;

/** A network whose answer depends on everything it is given. */
const predict: Predict = (x, t, c) => tf.tidy(() => x.mul<tf.Tensor4D>(0.3 + t / 2000).add(c.expandDims(3).mul(0.1)));

function options(changes: Partial<SampleOptions> = {}): SampleOptions {
  return { predict, scheduler: scheduler(dreamSampler, 4), condition, unconditional, ...seededDraws([1, 2, 3], shape), ...changes };
}

/** Runs and frees the noise it made. */
async function values(changes: Partial<SampleOptions> = {}): Promise<Float32Array> {
  const all = options(changes);
  const latents = await sample(all);
  const data = (await latents.data()) as Float32Array;
  tf.dispose([latents, all.noise]);
  return data;
}

describe('sample', () => {
  test('calls the network once a step, with twice the rows only above scale 1', async () => {
    for (const [guidanceScale, rows] of [[0, 3], [1, 3], [1.5, 6]]) {
      const seen: number[] = [];
      await values({ guidanceScale, predict: (x, t, c) => (seen.push(x.shape[0], c.shape[0]), predict(x, t, c)) });
      assert.deepEqual(seen, Array(8).fill(rows));
    }
  });

  test('guided equals its two branches run apart', async () => {
    const both = await values({ guidanceScale: 3, guidanceRescale: 0.4 });
    const apart = await values({
      predict: (x, t, c) =>
        tf.tidy(() => {
          const [led, free] = [predict(x, t, c), predict(x, t, tf.zerosLike(c))];
          const guided = free.add<tf.Tensor4D>(led.sub(free).mul(3));
          const deviation = (p: tf.Tensor) => tf.moments(p, [1, 2, 3], true).variance.sqrt();
          return guided.mul(deviation(led).div(deviation(guided)).mul(0.4).add(0.6));
        }),
    });
    both.forEach((v, i) => assert.ok(Math.abs(v - apart[i]) < 1e-4));
  });

  test('draws each image as it would alone', async () => {
    const together = await values();
    const alone = await values({ condition: condition.slice([0, 0, 0], [1, 1, 1]), ...seededDraws([2], shape) });
    assert.deepEqual([...alone], [...together.slice(16, 32)]);
  });

  test('leaves time to others after every step', async () => {
    let ticks = 0;
    let running = true;
    const tick = () => {
      ticks++;
      if (running) setImmediate(tick);
    };
    setImmediate(tick);
    await values();
    running = false;
    assert.ok(ticks >= 4, `${ticks} ticks`);
  });

  test('shows every step', async () => {
    const timesteps: number[] = [];
    await values({ onStep: ({ timestep, latents, original }) => void timesteps.push(timestep, latents.shape[0], original!.shape[0]) });
    assert.deepEqual(timesteps, [751, 3, 3, 501, 3, 3, 251, 3, 3, 1, 3, 3]);
  });

  test('stops when aborted, and leaves nothing behind in any case', async () => {
    const all = options({ guidanceScale: 2 });
    const before = tf.memory().numTensors;
    const controller = new AbortController();
    await assert.rejects(
      sample({
        ...all,
        signal: controller.signal,
        onStep({ index }) {
          if (index === 1) controller.abort(new Error('enough'));
        },
      }),
      /enough/,
    );
    assert.equal(tf.memory().numTensors, before);
    await assert.rejects(sample({ ...all, onStep: () => Promise.reject(new Error('drawing failed')) }), /drawing failed/);
    assert.equal(tf.memory().numTensors, before);
    (await sample(all)).dispose();
    assert.equal(tf.memory().numTensors, before);
    all.noise.dispose();
  });

  test('says what is missing', async () => {
    const all = options();
    await assert.rejects(sample({ ...all, guidanceScale: 2, unconditional: undefined }), /guidanceScale 2 needs an unconditional/);
    await assert.rejects(sample({ ...all, condition: unconditional }), /expected 3 conditions.*found 1/);
    await assert.rejects(sample({ ...all, stepNoise: undefined }), /draws noise/);
    all.noise.dispose();
  });
});

describe('seededNoise', () => {
  test('names each row by its seed, each use by its path', () => {
    tf.tidy(() => {
      const rows = seededNoise([5, 6], shape, 'start').dataSync();
      assert.deepEqual([...seededNoise([6], shape, 'start').dataSync()], [...rows.slice(16)]);
      assert.notDeepEqual([...seededNoise([5, 6], shape, 'step', 0).dataSync()], [...rows]);
    });
  });
});
