import * as tf from '@tensorflow/tfjs';
import { DreamBackend } from './engine/dream-backend.js';
import { float16Values } from './floats.js';
import { elementCount, type Dtype } from './safetensors.js';

type Narrow = 'F32' | 'F16' | 'BF16';

export const canWiden = (dtype: Dtype): dtype is Narrow => dtype === 'F32' || dtype === 'F16' || dtype === 'BF16';

/**
 * A float32 tensor of stored little-endian values, and how many of them are NaN or infinite. `bytes` lie at the start of their buffer, and may
 * be used again afterwards. On the backend `dream` the values are written where the tensor lies, so a large model is read without copies.
 */
export function widen(dtype: Narrow, bytes: Uint8Array, shape: number[]): { tensor: tf.Tensor; notFinite: number } {
  const count = elementCount(shape);
  const backend = tf.backend();
  if (!(backend instanceof DreamBackend)) {
    const values = new Float32Array(count);
    const notFinite = fill[dtype](bytes, values);
    return { tensor: tf.tensor(values, shape, 'float32'), notFinite };
  }
  const info = backend.output(shape);
  const notFinite = fill[dtype](bytes, backend.open(info) as Float32Array);
  return { tensor: tf.engine().makeTensorFromTensorInfo(info, backend), notFinite };
}

/** The exponent bits of a float32; all set in NaN and infinity. */
const EXPONENT = 0x7f800000;

/** One loop a format: converts and counts what is not finite, by its exponent of ones, in the same pass. */
const fill: Record<Narrow, (bytes: Uint8Array, values: Float32Array) => number> = {
  F32(bytes, values) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, values.length);
    const to = new Int32Array(values.buffer, values.byteOffset, values.length);
    let notFinite = 0;
    for (let i = 0; i < words.length; i++) {
      const word = words[i];
      if ((word & EXPONENT) === EXPONENT) notFinite++;
      to[i] = word;
    }
    return notFinite;
  },
  // Two at a time: half of a step's cost is fetching and storing.
  BF16(bytes, values) {
    const pairs = new Int32Array(bytes.buffer, bytes.byteOffset, values.length >> 1);
    const to = new Int32Array(values.buffer, values.byteOffset, values.length);
    let notFinite = 0;
    for (let i = 0; i < pairs.length; i++) {
      const pair = pairs[i];
      const low = pair << 16;
      const high = pair & 0xffff0000;
      if ((low & EXPONENT) === EXPONENT) notFinite++;
      if ((high & EXPONENT) === EXPONENT) notFinite++;
      to[2 * i] = low;
      to[2 * i + 1] = high;
    }
    if (values.length % 2 === 1) {
      const last = new Uint16Array(bytes.buffer, bytes.byteOffset, values.length)[values.length - 1] << 16;
      if ((last & EXPONENT) === EXPONENT) notFinite++;
      to[values.length - 1] = last;
    }
    return notFinite;
  },
  F16(bytes, values) {
    const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, values.length);
    const table = float16Values();
    let notFinite = 0;
    for (let i = 0; i < halves.length; i++) {
      const half = halves[i];
      if ((half & 0x7c00) === 0x7c00) notFinite++;
      values[i] = table[half];
    }
    return notFinite;
  },
};
