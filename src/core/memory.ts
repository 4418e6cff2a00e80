import { totalmem } from 'node:os';
import * as tf from '@tensorflow/tfjs';
import { DreamBackend } from './engine/dream-backend.js';

/**
 * Bytes that new tensors may take on the backend in use at the very most: what the engine's heap still has, and the machine or this process's container beside the
 * process itself. What other programs hold is not subtracted, since the system can often take it back. Undefined where tensors lie on a device that does not say.
 */
export function roomForTensors(): number | undefined {
  const limit = process.constrainedMemory() || Infinity; // 0: none is known
  const system = Math.min(totalmem(), limit) - process.memoryUsage.rss();
  const backend = tf.backend();
  if (backend instanceof DreamBackend) return backend.pool.room(system);
  return tf.getBackend() === 'cpu' ? system : undefined;
}

/** Throws, before anything is made, that `bytes` of tensors for `purpose` have no room. */
export function requireRoom(bytes: number, purpose: string, room: number | undefined = roomForTensors()): void {
  if (room === undefined || bytes <= room) return;
  const backend = tf.backend();
  const isWasm = backend instanceof DreamBackend && backend.engine.name === 'wasm';
  throw new Error(
    `${purpose} need ${gibibytes(bytes)} and at most ${gibibytes(room)} are left${isWasm ? ' in the WebAssembly engine, which has 4 GiB at most' : ''}. Take a smaller model or batch` +
      (isWasm ? ', or the native engine (DREAMLLM_BACKEND=native), which has all of the system\'s memory.' : ', or use a machine with more memory.'),
  );
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(bytes < 10 * 2 ** 30 ? 2 : 0)} GiB`;
