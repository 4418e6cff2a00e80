import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as tf from '@tensorflow/tfjs';
import { random } from '../core/random.js';
import { train, type Batch, type LoopSettings, type Task, type Training } from './loop.js';
import { adamwDefaults } from './optimizer.js';
import { silent } from './progress.js';
import { checkpointSteps, readEvents, RunFolder } from './run-folder.js';
import { warmupCosine } from './schedules.js';

const settings: LoopSettings = {
  steps: 8,
  accumulation: 2,
  schedule: warmupCosine(0.05, 0.2),
  optimizer: adamwDefaults,
  maxGradNorm: 1,
  emaDecay: 0.9,
  checkpointEvery: 3,
  keepLast: 2,
};

/** Fits y = x · weight to a known weight. */
function regression(name = 'regression'): Task<{ x: tf.Tensor2D; y: tf.Tensor2D }> {
  const weight = tf.variable(tf.tensor2d(random(1, 'start').normals(6), [3, 2]));
  const truth = tf.tensor2d([1, -1, 2, 0, 0.5, -2], [3, 2]);
  return {
    name,
    trainable: new Map([['weight', weight]]),
    batch(step, micro) {
      const x = tf.tensor2d(random(2, step, micro).normals(12), [4, 3]);
      const y: tf.Tensor2D = tf.matMul(x, truth);
      return { ids: [0, 1, 2, 3].map((i) => `${step}.${micro}.${i}`), inputs: { x, y } };
    },
    loss: ({ x, y }) => {
      const loss = x.matMul<tf.Tensor2D>(weight as tf.Tensor2D).sub(y).square().mean<tf.Scalar>();
      return { loss, half: loss.mul<tf.Scalar>(0.5) };
    },
  };
}

const newFolder = () => RunFolder.create(join(mkdtempSync(join(tmpdir(), 'loop-')), 'run'), { settings: {} });
const valuesOf = (task: Task) => [...task.trainable.get('weight')!.dataSync()];

describe('the training loop', () => {
  before(async () => {
    await tf.setBackend('cpu');
  });

  test('lowers the loss and logs each step', async () => {
    const folder = newFolder();
    const task = regression();
    await train(task, { ...settings, steps: 60 }, { folder });
    folder.close();
    const steps = readEvents(folder.path).filter(({ type }) => type === 'step');
    assert.equal(steps.length, 60);
    assert.ok((steps[59].loss as number) < 0.5 * (steps[0].loss as number));
    assert.equal(steps[0].learningRate, 0);
    assert.ok(Math.abs((steps[5].half as number) * 2 - (steps[5].loss as number)) < 1e-6);
  });

  test('ends with the same bytes when it was interrupted, and when its last checkpoint was torn as well', async () => {
    const whole = regression();
    const wholeTraining = await train(whole, settings);

    const controller = new AbortController();
    const folder = newFolder();
    const stop = (step: number) => {
      if (step === 4) controller.abort(new Error('stopped'));
    };
    await assert.rejects(train(regression(), settings, { folder, signal: controller.signal, onStep: stop }), /stopped/);
    folder.close();
    truncateSync(join(folder.path, 'checkpoints', '5', 'optimizer.safetensors'), 20);

    const again = RunFolder.resume(folder.path, {});
    const resumed = regression();
    const resumedTraining = await train(resumed, settings, { folder: again, resume: true });
    again.close();
    assert.deepEqual(valuesOf(resumed), valuesOf(whole));
    const average = ({ ema }: Training) => [...ema!.averages.get('weight')!.dataSync()];
    assert.deepEqual(average(resumedTraining), average(wholeTraining));
    const events = readEvents(folder.path);
    assert.match(String(events.find(({ type }) => type === 'damaged-checkpoint')?.message), /checkpoints\/5 is damaged/);
    assert.equal(events.find(({ type }) => type === 'resume')?.step, 3);
    assert.deepEqual(events.filter(({ type }) => type === 'step').map(({ step }) => step), [0, 1, 2, 3, 4, 5, 6, 7]);
  });

  test('goes back to the checkpoint before when any file of the last is torn, emptied, lost or changed in one bit', async () => {
    const whole = regression();
    const wholeTraining = await train(whole, settings);
    const average = ({ ema }: Training) => [...ema!.averages.get('weight')!.dataSync()];
    const folder = newFolder();
    const controller = new AbortController();
    const stop = (step: number) => {
      if (step === 6) controller.abort(new Error('stopped'));
    };
    await assert.rejects(train(regression(), settings, { folder, signal: controller.signal, onStep: stop }), /stopped/);
    folder.close();
    assert.deepEqual(checkpointSteps(folder.path), [6, 7]);

    const harms: Record<string, (file: string) => void> = {
      torn: (file) => truncateSync(file, Math.floor(statSync(file).size / 2)),
      emptied: (file) => truncateSync(file, 0),
      lost: (file) => rmSync(file),
      'changed in one bit': (file) => {
        const bytes = readFileSync(file);
        bytes[Math.floor(bytes.length / 2)] ^= 1;
        writeFileSync(file, bytes);
      },
    };
    for (const file of ['parameters.safetensors', 'optimizer.safetensors', 'ema.safetensors', 'state.json', 'SHA256SUMS']) {
      for (const [harm, apply] of Object.entries(harms)) {
        const copy = `${folder.path}-${file}-${harm.replaceAll(' ', '-')}`;
        cpSync(folder.path, copy, { recursive: true });
        apply(join(copy, 'checkpoints', '7', file));
        const said: string[] = [];
        const again = RunFolder.resume(copy, {});
        const resumed = regression();
        const training = await train(resumed, settings, { folder: again, resume: true, progress: { ...silent, say: (message) => said.push(message) } });
        again.close();
        const what = `${file} ${harm}`;
        assert.match(said[0], /checkpoints\/7 is damaged: .* Using the one before it\./, what);
        assert.equal(readEvents(copy).find(({ type }) => type === 'resume')?.step, 6, what);
        assert.deepEqual([valuesOf(resumed), average(training)], [valuesOf(whole), average(wholeTraining)], what);
      }
    }
  });

  test('starts over, and says so, when no checkpoint is whole', async () => {
    const whole = regression();
    await train(whole, settings);
    const folder = newFolder();
    await train(regression(), settings, { folder });
    folder.close();
    for (const step of checkpointSteps(folder.path)) rmSync(join(folder.path, 'checkpoints', String(step), 'state.json'));
    const again = RunFolder.resume(folder.path, {});
    const resumed = regression();
    await train(resumed, settings, { folder: again, resume: true });
    again.close();
    assert.deepEqual(valuesOf(resumed), valuesOf(whole));
    assert.equal(readEvents(folder.path).filter(({ type }) => type === 'damaged-checkpoint').length, 2);
    assert.equal(readEvents(folder.path).find(({ type }) => type === 'resume')?.step, 0);
  });

  test('averages gradients over micro-batches', async () => {
    const halves = regression();
    const joined = regression();
    const { batch } = joined;
    joined.batch = async (step) => {
      const [a, b] = [await batch(step, 0), await batch(step, 1)];
      const inputs = { x: tf.concat([a.inputs.x, b.inputs.x]), y: tf.concat([a.inputs.y, b.inputs.y]) };
      tf.dispose([a.inputs, b.inputs]);
      return { ids: [...a.ids, ...b.ids], inputs };
    };
    await train(halves, settings);
    await train(joined, { ...settings, accumulation: 1 });
    const [a, b] = [valuesOf(halves), valuesOf(joined)];
    a.forEach((value, i) => assert.ok(Math.abs(value - b[i]) < 1e-5));
  });

  test('makes the next batch ahead, tells its fault in its own step, and leaves none behind', async () => {
    const task = regression();
    const before = tf.memory().numTensors;
    for (const isLate of [false, true]) {
      const made: string[] = [];
      const fails = (step: number) => step === 4 && (made.push('fault'), true);
      const batch: Task['batch'] = (step, micro) => {
        made.push(`${step}.${micro}`);
        if (!isLate && fails(step)) throw new Error('no such picture');
        const given = task.batch(step, micro) as Batch<tf.TensorContainer>;
        return isLate ? new Promise((resolve, reject) => setImmediate(() => (fails(step) ? (tf.dispose(given.inputs), reject(new Error('no such picture'))) : resolve(given)))) : given;
      };
      const steps: number[] = [];
      await assert.rejects(train({ ...task, batch } as Task, { ...settings, emaDecay: undefined, accumulation: 2 }, { onStep: (step) => steps.push(step) }), /no such picture/);
      assert.deepEqual(steps, [0, 1, 2, 3]);
      assert.deepEqual(made, ['0.0', '0.1', '1.0', '1.1', '2.0', '2.1', '3.0', '3.1', '4.0', 'fault']);
      assert.equal(tf.memory().numTensors, before);
    }
    const controller = new AbortController();
    await assert.rejects(train(task as Task, settings, { signal: controller.signal, onStep: (step) => step === 2 && controller.abort(new Error('stopped')) }), /stopped/);
    assert.equal(tf.memory().numTensors, before);
  });

  test('stops on a loss that is not a number, and names step, batch and tensor', async () => {
    const task = regression();
    const { batch } = task;
    task.batch = async (step, micro) => {
      const made = await batch(step, micro);
      if (step !== 2 || micro !== 1) return made;
      made.inputs.x.dispose();
      made.inputs.x = tf.tensor2d([NaN, ...Array(11).fill(1)], [4, 3]);
      return made;
    };
    await assert.rejects(train(task, settings), (error: Error) => {
      assert.match(error.message, /regression: loss became NaN in step 2\. Batch: .*2\.1\.3\./);
      assert.match(error.message, /First bad tensor: input x \[4,3\] \(1 of 12 values, first NaN\)/);
      return true;
    });
    assert.ok(valuesOf(task).every(Number.isFinite));
  });

  /** `regression` that keeps a tensor in the steps that `leaks` names. */
  function leaking(leaks: (step: number) => boolean): Task {
    const task = regression();
    const { batch, loss } = task;
    let step = 0;
    task.batch = (number, micro) => batch((step = number), micro);
    task.loss = (inputs) => {
      if (leaks(step)) tf.keep(inputs.x.exp());
      return loss(inputs);
    };
    return task as unknown as Task;
  }
  const single = { ...settings, steps: 12, accumulation: 1 };

  test('fails when each step leaves one tensor behind, and names the first of them and the operation', async () => {
    const behind = /^Step 4 left 1 tensor behind: 1 × Exp \[4,3\]\. After step 6 there are 3 too many\./;
    await assert.rejects(train(leaking((step) => step >= 4), single), ({ message }: Error) => behind.test(message));
    await assert.rejects(train(leaking(() => true), single), /^Error: Step 1 left 1 tensor behind: 1 × Exp/); // the first step may fill caches
  });

  test('fails when a single tensor stays, or one of every third step, and lets pass what the first step keeps', async () => {
    await assert.rejects(train(leaking((step) => step === 5), single), /Step 5 left 1 tensor behind: 1 × Exp \[4,3\]\. After step 7 there are 1 too many/);
    await assert.rejects(train(leaking((step) => step % 3 === 2), single), /Step 2 left 1 tensor behind/);
    assert.equal((await train(leaking((step) => step === 0), single)).step, 12);
  });

  test('fails when evaluations leave tensors behind', async () => {
    const evaluate = { every: 2, run: () => ({ score: tf.keep(tf.scalar(2).sqrt()).dataSync()[0] }) };
    await assert.rejects(train(regression(), settings, { evaluate }), /The evaluation at step 1 left 2 tensors behind: 1 × tf\.tensor \[\], 1 × Sqrt \[\]\. Every tensor/);
  });

  test('keeps tensors and memory level over two thousand steps', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const task = regression();
    const counts = new Set<string>();
    const heap: number[] = [];
    const onStep = (step: number) => {
      const { numTensors, numDataBuffers, numBytes } = tf.memory();
      if (step < 1999) counts.add(`${numTensors} tensors, ${numDataBuffers} buffers, ${numBytes} bytes`); // after the last step no batch waits
      if (step !== 499 && step !== 1999) return;
      collect();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      heap.push(heapUsed + arrayBuffers);
    };
    await train(task, { ...settings, steps: 2000, accumulation: 1, checkpointEvery: 500 }, { folder: newFolder(), onStep });
    assert.deepEqual(counts.size, 1, [...counts].join('; '));
    assert.ok(heap[1] - heap[0] < 1_000_000, `${heap[1] - heap[0]} bytes more after 1,500 steps`); // 700 bytes a step would show
  });

  test('keeps the checkpoint with the best evaluation', async () => {
    const folder = newFolder();
    const values = [0, 3, 1, 2, 4]; // the first before any step: there is nothing to keep
    const evaluate = { every: 2, best: 'score', run: () => ({ score: values.shift()! }) };
    const { best } = await train(regression(), { ...settings, checkpointEvery: 2, keepLast: 1 }, { folder, evaluate });
    folder.close();
    assert.deepEqual(best, { step: 4, value: 1 });
    assert.match(readFileSync(join(folder.path, 'checkpoints', '4', 'state.json'), 'utf8'), /"step": 4/);
  });

  test('writes a checkpoint where the evaluation is best, also between those that are due, and remembers it when resumed', async () => {
    const folder = newFolder();
    const values: Record<number, number> = { 0: 0, 1: 5, 2: 3, 3: 1, 4: 2, 5: 4, 6: 4, 7: 4, 8: 4 };
    const evaluate = { every: 1, best: 'score', run: (step: number) => ({ score: values[step] }) };
    const some = { ...settings, checkpointEvery: 5, keepLast: 1 };
    const controller = new AbortController();
    const stop = (step: number) => {
      if (step === 5) controller.abort(new Error('stopped'));
    };
    await assert.rejects(train(regression(), some, { folder, evaluate, signal: controller.signal, onStep: stop }), /stopped/);
    folder.close();
    assert.deepEqual(checkpointSteps(folder.path), [3, 6]);
    const again = RunFolder.resume(folder.path, {});
    const { best } = await train(regression(), some, { folder: again, evaluate, resume: true });
    again.close();
    assert.deepEqual(best, { step: 3, value: 1 });
    assert.deepEqual(checkpointSteps(folder.path), [3, 8]);
    await assert.rejects(train(regression(), settings, { evaluate: { ...evaluate, best: 'other' } }), /the best checkpoint is chosen by other, and the evaluation gave score/);
  });
});
