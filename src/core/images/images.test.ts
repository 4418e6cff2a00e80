import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import * as tf from '@tensorflow/tfjs';
import sharp from 'sharp';
import * as images from '../images.js';
import { random } from '../random.js';
import { roundHalfEven } from '../rounding.js';

const noise = (width: number, height: number): images.RgbImage => {
  const stream = random(0, 'noise', width, height);
  return { width, height, data: Uint8Array.from({ length: width * height * 3 }, () => stream.integer(256)) };
};

describe('resize', () => {
  const filters: images.Filter[] = ['nearest', 'box', 'bilinear', 'bicubic', 'lanczos'];

  test('keeps a plain picture plain with every filter', () => {
    for (const filter of filters) {
      const resized = images.resize(images.blankImage(9, 7, [200, 3, 255]), 5, 13, filter);
      assert.deepEqual(resized, images.blankImage(5, 13, [200, 3, 255]), filter);
    }
  });

  test('gives a copy when the size stays', () => {
    const image = noise(4, 5);
    const copy = images.resize(image, 4, 5, 'bicubic');
    assert.deepEqual(copy, image);
    assert.notEqual(copy.data, image.data);
  });

  test('averages pairs when the box filter halves, rounding after each pass', () => {
    const image = { width: 2, height: 2, data: Uint8Array.from([0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]) };
    // Rows (0, 1) -> 0.5, rounded up to 1; (0, 0) -> 0; column (1, 0) -> 0.5, rounded up to 1. One rounding at the end would give 0.
    assert.deepEqual([...images.resize(image, 1, 1, 'box').data], [1, 1, 1]);
  });

  test('picks existing pixels with nearest', () => {
    const image = { width: 3, height: 1, data: Uint8Array.from([1, 1, 1, 2, 2, 2, 3, 3, 3]) };
    assert.deepEqual([...images.resize(image, 6, 1, 'nearest').data].filter((_, i) => i % 3 === 0), [1, 1, 2, 2, 3, 3]);
  });

  test('refuses an impossible size', () => {
    assert.throws(() => images.resize(noise(2, 2), 0, 3, 'box'), /positive whole numbers, found 0×3/);
  });
});

describe('crop', () => {
  test('halves odd margins as each library does', () => {
    const image = noise(7, 1);
    const firstPixel = (rounding: 'floor' | 'half-even') => {
      const { data } = images.centerCrop(image, 4, 1, rounding); // margin 3: floor takes 1, half-even takes round(1.5) = 2
      return [0, 1, 2, 3].find((x) => data[0] === image.data[x * 3] && data[1] === image.data[x * 3 + 1]);
    };
    assert.equal(firstPixel('floor'), 1);
    assert.equal(firstPixel('half-even'), 2);
    assert.deepEqual([0.5, 1.5, 2.5, 2.4, 2.6].map(roundHalfEven), [0, 2, 2, 2, 3]);
  });

  test('surrounds a small picture with black', () => {
    const padded = images.centerCrop(images.blankImage(1, 1, [9, 9, 9]), 3, 3, 'floor');
    assert.deepEqual([...padded.data].filter((_, i) => i % 3 === 0), [0, 0, 0, 0, 9, 0, 0, 0, 0]);
  });

  test('and its mirror image mirror back', () => {
    const image = noise(5, 3);
    assert.deepEqual(images.flipHorizontally(images.flipHorizontally(image)), image);
    assert.equal(images.flipHorizontally(image).data[0], image.data[4 * 3]);
  });
});

describe('files', () => {
  test('come back unchanged through PNG', async () => {
    const image = noise(13, 7);
    assert.deepEqual(await images.decodeImage(await images.encodePng(image)), image);
  });

  test('come back nearly unchanged through JPEG', async () => {
    const image = images.blankImage(16, 16, [10, 120, 230]);
    const decoded = await images.decodeImage(await images.encodeJpeg(image));
    assert.ok(decoded.data.every((byte, i) => Math.abs(byte - image.data[i]) <= 2));
  });

  test('lose alpha without blending and gain channels from grey', async () => {
    const rgba = await sharp(Buffer.from([10, 20, 30, 0]), { raw: { width: 1, height: 1, channels: 4 } }).png().toBuffer();
    assert.deepEqual([...(await images.decodeImage(rgba)).data], [10, 20, 30]);
    const grey = await sharp(Buffer.from([77]), { raw: { width: 1, height: 1, channels: 1 } }).toColourspace('b-w').png().toBuffer();
    assert.deepEqual([...(await images.decodeImage(grey)).data], [77, 77, 77]);
  });

  test('that are no pictures are named in the error', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'images-'));
    try {
      const file = join(folder, 'broken.png');
      const whole = await images.encodePng(noise(20, 20));
      for (const bytes of [Buffer.from('not a picture'), Buffer.alloc(0), whole.subarray(0, whole.length / 2)]) {
        writeFileSync(file, bytes);
        await assert.rejects(images.decodeImage(file), /broken\.png is not a picture that can be decoded/);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('network inputs', () => {
  test('return to the picture they came from', async () => {
    const image = noise(6, 6);
    const batch = images.imageTensor([image, image], images.diffusionPreprocessing(6));
    assert.deepEqual(batch.shape, [2, 6, 6, 3]);
    assert.deepEqual(await images.toImages(batch), [image, image]);
    batch.dispose();
  });

  test('outside [-1, 1] are clamped, and NaN is an error', async () => {
    const values = tf.tensor4d([-9, 0, 9], [1, 1, 1, 3]);
    assert.deepEqual([...(await images.toImages(values))[0].data], [0, 128, 255]); // 127.5 rounds to the even 128
    const broken = tf.tensor4d([0, NaN, 0], [1, 1, 1, 3]);
    await assert.rejects(images.toImages(broken), /found NaN/);
    tf.dispose([values, broken]);
  });
});

describe('readPreprocessing', () => {
  const { mean, std } = images.clipPreprocessing(224);
  const old = { crop_size: 224, do_center_crop: true, do_normalize: true, do_resize: true, image_mean: mean, image_std: std, resample: 3, size: 224 };

  test('reads files of both forms', () => {
    assert.deepEqual(images.readPreprocessing(old), images.clipPreprocessing(224));
    const current = { ...old, size: { shortest_edge: 224 }, crop_size: { height: 224, width: 224 }, rescale_factor: 0.00392156862745098 };
    assert.deepEqual(images.readPreprocessing(current), images.clipPreprocessing(224));
    assert.equal(images.readPreprocessing({ ...old, do_resize: false }).shortSide, undefined);
  });

  test('refuses by name what it does not know', () => {
    assert.throws(() => images.readPreprocessing({ ...old, resample: 5 }), /resample is 5\. Expected one of 0, 1, 2, 3, 4/);
    assert.throws(() => images.readPreprocessing({ ...old, do_normalize: false }), /do_normalize is false/);
    assert.throws(() => images.readPreprocessing({ ...old, size: { height: 224, width: 224 } }), /size is/);
  });
});

describe('contactSheet', () => {
  const red = images.blankImage(12, 10, [255, 0, 0]);

  test('places pictures row by row in equal cells', () => {
    const sheet = images.contactSheet([red, red, red], { columns: 2, gap: 3 });
    assert.deepEqual([sheet.width, sheet.height], [3 + 2 * 15, 3 + 2 * 13]);
    const pixel = (x: number, y: number) => [...sheet.data.subarray((y * sheet.width + x) * 3, (y * sheet.width + x) * 3 + 3)];
    assert.deepEqual(pixel(3, 3), [255, 0, 0]);
    assert.deepEqual(pixel(3, 16), [255, 0, 0]);
    assert.deepEqual(pixel(18, 16), [255, 255, 255]); // the fourth cell is empty
  });

  test('draws labels in its own font and cuts them at the cell', () => {
    const sheet = images.contactSheet([red], { gap: 0, labels: ['I~too long'] });
    const dark = (x: number, y: number) => sheet.data[(y * sheet.width + x) * 3] === 0;
    assert.deepEqual(Array.from({ length: 7 }, (_, y) => dark(2, 12 + y)), Array(7).fill(true)); // the stem of the I
    assert.equal(sheet.width, 12);
  });

  test('refuses labels that do not match', () => {
    assert.throws(() => images.contactSheet([red], { labels: [] }), /expected 1 labels, found 0/);
    assert.throws(() => images.contactSheet([]), /at least one picture/);
  });
});
