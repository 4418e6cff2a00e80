import * as tf from '@tensorflow/tfjs';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DreamBackend } from '../../core/engine/dream-backend.js';
import { canPack, loadPacked, type PackedFormat } from '../../core/packed.js';
import { mapSpec, specEntries, type Spec } from '../../core/params.js';
import { KvCache, llama, llama7b, llamaSpec, type LlamaParams } from '../../models/llama/index.js';

export interface LargeMeasurement {
  format: PackedFormat;
  parameters: number;
  promptTokens: number;
  prefillSeconds: number;
  /** Median of the single tokens after the prompt. */
  secondsPerToken: number;
  residentGiB: number;
}

/**
 * Times DreamLLM-7B's language model at full size with packed weights: a prompt, then single tokens with a cache. The weights are a synthetic
 * checkpoint: bf16 is a sparse file that is mapped, as a downloaded checkpoint would be; int8 and int4 are packed in memory.
 */
export function measureLarge(format: PackedFormat, promptTokens: number, tokens: number, numLayers?: number): LargeMeasurement {
  const config = { ...llama7b(), ...(numLayers ? { numLayers } : {}) };
  const spec = llamaSpec(config);
  const params = (format === 'bf16' ? fromSparseFile(spec) : inMemory(spec, format)) as LlamaParams;
  const cache = new KvCache();
  const run = (ids: number[]): number => {
    const start = performance.now();
    const next = tf.tidy(() => llama(params, tf.tensor2d([ids], [1, ids.length], 'int32'), config, { cache }).slice([0, ids.length - 1, 0], [1, 1, -1]).argMax(-1));
    next.dataSync();
    next.dispose();
    return (performance.now() - start) / 1000;
  };
  run([1]); // touches every weight once
  cache.dispose();
  const prefillSeconds = run(Array.from({ length: promptTokens }, (_, i) => i));
  const times = Array.from({ length: tokens }, (_, i) => run([i])).sort((a, b) => a - b);
  cache.dispose();
  tf.dispose(params as never);
  const parameters = [...specEntries(spec).values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  return { format, parameters, promptTokens, prefillSeconds, secondsPerToken: times[tokens >> 1], residentGiB: process.memoryUsage.rss() / 2 ** 30 };
}

/** A safetensors file of zeros that takes no space on the disk, mapped. */
function fromSparseFile(spec: Spec): unknown {
  const folder = mkdtempSync(join(tmpdir(), 'dreamllm-large-'));
  try {
    const file = join(folder, 'model.safetensors');
    const header: Record<string, object> = {};
    let end = 0;
    for (const [key, { shape }] of specEntries(spec)) {
      const begin = end;
      end += 2 * shape.reduce((a, b) => a * b, 1);
      header[key] = { dtype: 'BF16', shape, data_offsets: [begin, end] };
    }
    const json = Buffer.from(JSON.stringify(header));
    const padded = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(padded.length));
    const fd = openSync(file, 'w');
    writeSync(fd, Buffer.concat([length, padded]));
    ftruncateSync(fd, 8 + padded.length + end);
    closeSync(fd);
    return loadPacked(spec, file, 'bf16');
  } finally {
    rmSync(folder, { recursive: true }); // a mapping outlives its file's name
  }
}

function inMemory(spec: Spec, format: PackedFormat): unknown {
  const backend = tf.backend() as DreamBackend;
  return mapSpec(spec, (_key, { shape }) => {
    if (!canPack(shape, format)) return tf.tidy(() => tf.variable(tf.ones(shape), false));
    const info = backend.packedOutput(shape, format);
    const { data, scales } = backend.openPacked(info);
    data.fill(0x79);
    scales?.fill(1e-4);
    const tensor = tf.engine().makeTensorFromDataId(info.dataId, info.shape, 'float32', backend) as tf.Tensor;
    const made = tf.variable(tensor, false);
    tensor.dispose();
    return made;
  });
}
