import * as tf from '@tensorflow/tfjs';
import { defineKernel, run, shapeError } from './kernel.js';

/**
 * Writes new rows behind the first `length` rows of a key or value cache. cache [1, room, dim], x [1, tokens, dim] -> [1, room or more, dim],
 * of which the first `length + tokens` rows hold something. The backend `dream` writes in place while there is room and gives another handle
 * to the same numbers; elsewhere the result is made anew, without room. The caller disposes the old handle. Not for gradients.
 */
export function cacheAppend(cache: tf.Tensor3D | undefined, x: tf.Tensor3D, length: number): tf.Tensor3D {
  if (x.rank !== 3 || x.shape[0] !== 1 || (cache ? cache.shape[1] < length || cache.shape[2] !== x.shape[2] : length !== 0)) {
    shapeError('cacheAppend', `x [1, tokens, dim] and a cache [1, ${length} or more, dim]`, { x, cache });
  }
  return run('DreamCacheAppend', { cache, x }, { length }) as tf.Tensor3D;
}

defineKernel('DreamCacheAppend', ({ cache, x }, { length }) => (cache ? tf.concat([cache.slice([0, 0, 0], [1, length, -1]), x], 1) : x.clone()));
