import * as tf from '@tensorflow/tfjs';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import type { Block, Engine, KernelName, Values } from './engine.js';
import { Pool, view } from './pool.js';

interface Entry {
  values: tf.BackendValues | null;
  dtype: tf.DataType;
  refCount: number;
  complexTensorInfos?: unknown;
  block?: Block;
}

/**
 * A tfjs backend whose tensors lie in an engine's memory. Kernels that the engine lacks run as those of the plain cpu backend, which find
 * their inputs in `data` as they expect. Every value is copied on the way in and out: nothing aliases a pooled buffer.
 */
export class DreamBackend extends MathBackendCPU {
  readonly pool: Pool;

  constructor(readonly engine: Engine) {
    super();
    (this as unknown as { firstUse: boolean }).firstUse = false; // no advice to install another backend
    this.pool = new Pool(engine);
  }

  /** A tensor with memory of its own, not cleared. */
  output(shape: readonly number[], dtype: tf.DataType = 'float32'): tf.TensorInfo {
    const dataId = super.write(null as unknown as tf.BackendValues, shape as number[], dtype);
    this.fill(this.entry(dataId), dtype, size(shape));
    return { dataId, shape: shape as number[], dtype };
  }

  /** The engine's memory of a tensor. */
  values(tensor: tf.TensorInfo): Values {
    return this.entry(tensor.dataId).values as Values;
  }

  /** The same, for 32-bit floats. Throws on other types. */
  floats(tensor: tf.TensorInfo): Float32Array {
    if (tensor.dtype !== 'float32') throw new Error(`Expected a tensor of type float32, found ${tensor.dtype}. Convert it with toFloat().`);
    return this.entry(tensor.dataId).values as Float32Array;
  }

  run(kernel: KernelName, tensors: readonly (Values | null)[], numbers: readonly number[]): void {
    this.engine.call(kernel, tensors, numbers);
  }

  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): object {
    const dataId = super.write(values, shape, dtype);
    this.adopt(this.entry(dataId));
    return dataId;
  }

  override move(dataId: object, values: tf.BackendValues, shape: number[], dtype: tf.DataType, refCount: number): void {
    super.move(dataId, values, shape, dtype, refCount);
    this.adopt(this.entry(dataId));
  }

  override readSync(dataId: object): tf.BackendValues {
    const values = super.readSync(dataId);
    return ArrayBuffer.isView(values) ? (values as Float32Array).slice() : values;
  }

  override disposeData(dataId: object, force = false): boolean {
    const entry = this.data.has(dataId) ? this.entry(dataId) : undefined;
    const released = super.disposeData(dataId, force);
    if (released && entry?.block && !this.data.has(dataId)) {
      this.pool.give(entry.block);
      entry.block = undefined;
    }
    return released;
  }

  override memory(): { unreliable: boolean; reasons: string[] } {
    return { unreliable: false, reasons: [] };
  }

  private entry(dataId: object): Entry {
    return this.data.get(dataId) as unknown as Entry;
  }

  private fill(entry: Entry, dtype: tf.DataType, count: number): void {
    entry.block = this.pool.take(count * (dtype === 'bool' ? 1 : 4));
    entry.values = view(entry.block, dtype, count);
  }

  /** Copies an entry's values into the engine's memory. */
  private adopt(entry: Entry): void {
    const given = entry.values;
    if (given == null || entry.dtype === 'string' || entry.dtype === 'complex64') return;
    this.fill(entry, entry.dtype, given.length);
    (entry.values as Values).set(given as unknown as ArrayLike<number>);
  }
}

export const size = (shape: readonly number[]): number => {
  let product = 1;
  for (const n of shape) product *= n;
  return product;
};
