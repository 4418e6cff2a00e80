import * as tf from '@tensorflow/tfjs';
import type { DreamBackend } from '../dream-backend.js';
import { isFloat, type KernelTable } from './table.js';

/**
 * The largest of each window, in plain loops over neighbouring channels: several times faster than the stock kernel, which visits every
 * channel's window anew. Only evaluation networks pool, so it needs no kernel of the engine. NaN is passed over, as in the stock kernel.
 */
function maxPool(backend: DreamBackend, x: tf.TensorInfo, info: tf.backend_util.Conv2DInfo): tf.TensorInfo {
  const { batchSize, inHeight, inWidth, outHeight, outWidth, inChannels, filterHeight, filterWidth, strideHeight, strideWidth, padInfo } = info;
  const y = backend.output(info.outShape, 'float32');
  const from = backend.values(x) as Float32Array;
  const to = backend.values(y) as Float32Array;
  to.fill(-Infinity);
  for (let image = 0, out = 0; image < batchSize; image++) {
    for (let row = 0; row < outHeight; row++) {
      const top = row * strideHeight - padInfo.top;
      for (let column = 0; column < outWidth; column++, out += inChannels) {
        const left = column * strideWidth - padInfo.left;
        for (let i = Math.max(0, top); i < Math.min(inHeight, top + filterHeight); i++) {
          for (let j = Math.max(0, left); j < Math.min(inWidth, left + filterWidth); j++) {
            const at = ((image * inHeight + i) * inWidth + j) * inChannels;
            for (let c = 0; c < inChannels; c++) {
              const value = from[at + c];
              if (value > to[out + c]) to[out + c] = value;
            }
          }
        }
      }
    }
  }
  return y;
}

export const poolingKernels: KernelTable = {
  MaxPool: (backend, { x }, { filterSize, strides, pad, dimRoundingMode }) => {
    if (!isFloat(x)) return undefined;
    const info = tf.backend_util.computePool2DInfo(x.shape as [number, number, number, number], filterSize, strides, 1, pad, dimRoundingMode);
    return maxPool(backend, x, info);
  },
};
