import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import { useBackend } from '../../core/backend.js';
import { blankImage, type RgbImage } from '../../core/images.js';
import { countParameters, specEntries } from '../../core/params.js';
import { random } from '../../core/random.js';
import { writeSafetensors, type TensorToWrite } from '../../core/safetensors.js';
import { extractorId, features, fidExtractor, imagenetExtractor } from './features.js';
import { fidInceptionSpec, topLayout, trunkLayout, units } from './layout.js';
import { fold, foldedParams, mixed7c, type UnitValues } from './network.js';

await useBackend();

const noise = (seed: number, side: number): RgbImage => {
  const stream = random(seed, 'picture');
  return { width: side, height: side, data: Uint8Array.from({ length: side * side * 3 }, () => stream.integer(256)) };
};
const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>) => Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i])));

describe('fidInceptionSpec', () => {
  const entries = specEntries(fidInceptionSpec());

  test('has the keys and shapes of pt_inception-2015-12-05', () => {
    assert.equal(entries.size, 94 * 5 + 2);
    const shape = (key: string) => entries.get(key)?.shape;
    assert.deepEqual(shape('Conv2d_1a_3x3.conv.weight'), [3, 3, 3, 32]);
    assert.deepEqual(shape('Mixed_5b.branch5x5_2.conv.weight'), [5, 5, 48, 64]);
    assert.deepEqual(shape('Mixed_6b.branch7x7_2.conv.weight'), [1, 7, 128, 128]);
    assert.deepEqual(shape('Mixed_7a.branch7x7x3_4.conv.weight'), [3, 3, 192, 192]);
    assert.deepEqual(shape('Mixed_7c.branch3x3dbl_3b.bn.running_var'), [384]);
    assert.deepEqual(shape('fc.weight'), [1008, 2048]);
  });

  test('has the parameters of Inception V3 with 1008 classes', () => {
    // torchvision's inception_v3 without auxiliary classifier has 23,834,568 for 1000 classes; 8 more classes are 8 · 2049.
    const statistics = [...entries].filter(([key]) => key.includes('running_')).reduce((sum, [, { shape }]) => sum + shape[0], 0);
    assert.equal(countParameters(fidInceptionSpec()) - statistics, 23_834_568 + 8 * 2049);
  });
});

describe('fold', () => {
  test('puts a batch normalisation into the convolution before it', () => {
    const stream = random(0, 'unit');
    const values: UnitValues = {
      kernel: stream.normals(2 * 3),
      scale: [1, 2, 3],
      shift: stream.normals(3),
      mean: stream.normals(3),
      variance: [0.5, 1, 2],
    };
    const { weight, bias } = fold(values);
    const x = [0.3, -0.7];
    for (let c = 0; c < 3; c++) {
      const convolved = x[0] * values.kernel[c] + x[1] * values.kernel[3 + c];
      const normed = ((convolved - values.mean[c]) / Math.sqrt(values.variance[c] + 1e-3)) * values.scale![c] + values.shift[c];
      assert.ok(Math.abs(normed - (x[0] * weight[c] + x[1] * weight[3 + c] + bias[c])) < 1e-6);
    }
  });
});

describe('the ImageNet extractor', () => {
  const extractor = imagenetExtractor();
  const narrow = imagenetExtractor('pool2');
  after(() => [extractor, narrow].forEach((e) => e.dispose()));

  test('names itself, its layer, its input size and its weights', () => {
    assert.match(extractorId(extractor), /^inception-v3-imagenet\/mixed5@96px#[0-9a-f]{8}$/);
    assert.equal(extractor.hash, narrow.hash);
    assert.deepEqual([extractor.dim, narrow.dim], [768, 192]);
  });

  test('gives the numbers of the Keras network', async () => {
    // From tfjs' own loader of the same topology and weights, output mixed5 averaged over positions, input a 96×96 grey ramp.
    const ramp: RgbImage = { width: 96, height: 96, data: Uint8Array.from({ length: 96 * 96 * 3 }, (_, i) => Math.floor(i / 3) % 96) };
    const keras = [0, 0, 0.22727288, 0, 0, 0.12939587, 1.23501384, 0.73634118];
    const values = await features([ramp], { extractor });
    assert.ok(largestDifference(values.subarray(0, 8), keras) < 1e-4, `${values.subarray(0, 8)}`);
  });

  test('gives a picture the same row in any batch, whatever the size of its neighbours', async () => {
    const pictures = [noise(1, 32), blankImage(50, 20, [200, 10, 10]), noise(2, 96)];
    const together = await features(pictures, { extractor: narrow, batchSize: 2 });
    for (const [i, picture] of pictures.entries()) {
      const alone = await features([picture], { extractor: narrow });
      assert.ok(largestDifference(alone, together.subarray(i * 192, (i + 1) * 192)) < 1e-4);
    }
  });

  test('leaves nothing behind, reports progress and stops when asked', async () => {
    const before = tf.memory().numTensors;
    const progress: number[] = [];
    await features([noise(1, 8), noise(2, 8), noise(3, 8)], { extractor: narrow, batchSize: 2, onProgress: (done) => progress.push(done) });
    assert.deepEqual(progress, [2, 3]);
    await assert.rejects(features([noise(1, 8)], { extractor: narrow, signal: AbortSignal.abort(new Error('enough')) }), /enough/);
    assert.equal(tf.memory().numTensors, before);
  });
});

describe('FID’s network', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'inception-'));
  after(() => rmSync(scratch, { recursive: true }));

  test('reaches 2048 channels from its smallest picture', () => {
    const ones = (count: number) => new Float32Array(count).fill(1);
    const small = (_name: string, { kernelShape: [h, w, i, o] }: { kernelShape: number[] }): UnitValues => ({
      kernel: new Float32Array(h * w * i * o).fill(1 / (h * w * i)),
      shift: ones(o),
      mean: new Float32Array(o),
      variance: ones(o),
    });
    const p = foldedParams({ trunk: trunkLayout, top: topLayout }, small);
    tf.tidy(() => assert.deepEqual(mixed7c(p.trunk, p.top, tf.ones([1, 75, 75, 3])).shape, [1, 1, 1, 2048]));
    tf.dispose(p);
  });

  test('is read from a file under pytorch-fid’s keys', async () => {
    const tensors = new Map<string, TensorToWrite>();
    for (const [key, { shape }] of specEntries(fidInceptionSpec())) {
      const inFile = shape.length === 4 ? [shape[3], shape[2], shape[0], shape[1]] : shape;
      const values = new Float32Array(shape.reduce((a, b) => a * b));
      if (key.endsWith('running_var')) values.fill(1);
      tensors.set(key, { dtype: 'F32', shape: inFile, values: () => values });
    }
    // All kernels are 0, so only the last block's shifts show: 1 behind its first branch, 320 channels wide.
    tensors.set('Mixed_7c.branch1x1.bn.bias', { dtype: 'F32', shape: [320], values: () => new Float32Array(320).fill(1) });
    tensors.set('Mixed_7c.branch1x1.bn.num_batches_tracked', { dtype: 'I64', shape: [], values: () => BigInt64Array.of(7n) });
    const file = join(scratch, 'fid.safetensors');
    writeSafetensors(file, tensors);

    const extractor = fidExtractor(file);
    assert.deepEqual([extractor.name, extractor.dim], ['fid-inception/pool3@299px', 2048]);
    const values = await features([noise(1, 40)], { extractor });
    assert.ok(values.every((x, i) => Math.abs(x - (i < 320 ? 1 : 0)) < 1e-6));
    extractor.dispose();
  });

  test('refuses a file that holds something else', () => {
    const file = join(scratch, 'other.safetensors');
    writeSafetensors(file, new Map([['fc.bias', { dtype: 'F32', shape: [1000], values: () => new Float32Array(1000) }]]));
    assert.throws(() => fidExtractor(file), /other\.safetensors.*missing/s);
  });
});

test('Inception has 50 units up to Mixed_6c and 44 above', () => {
  assert.deepEqual([units(trunkLayout).size, units(topLayout).size], [50, 44]);
});
