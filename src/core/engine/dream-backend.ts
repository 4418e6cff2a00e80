import * as tf from '@tensorflow/tfjs';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import type { Block, Engine, KernelName, Values } from './engine.js';
import { Pool, view } from './pool.js';

interface Entry {
  values: tf.BackendValues | null;
  dtype: tf.DataType;
  refCount: number;
  complexTensorInfos?: unknown;
  blocks?: Block[];
  packed?: Packed;
}

/** Formats for frozen weights, in the order of native/packed.h: 16-bit floats, or 8- or 4-bit integers with a scale for each 32 neighbours. */
export const packedFormats = ['bf16', 'f16', 'int8', 'int4'] as const;
export type PackedFormat = (typeof packedFormats)[number];

/** A matrix in few bits. The kernels that take one (linear, its gradient, embedding) read it as it is; to others it has no values. */
export interface Packed {
  format: PackedFormat;
  data: Values;
  scales: Float32Array | null;
}

export const groupSize = 32;

/** Bytes of a packed matrix without its scales. */
export const packedBytes = (format: PackedFormat, count: number): number => (format === 'int4' ? count / 2 : format === 'int8' ? count : 2 * count);

/**
 * A tfjs backend whose tensors lie in an engine's memory. Kernels that the engine lacks run as those of the plain cpu backend, which find
 * their inputs in `data` as they expect. Every value is copied on the way in and out: nothing aliases a pooled buffer.
 */
export class DreamBackend extends MathBackendCPU {
  readonly pool: Pool;
  /** Outputs made since a kernel began, to be given back if it fails. */
  private made: object[] = [];

  constructor(readonly engine: Engine) {
    super();
    (this as unknown as { firstUse: boolean }).firstUse = false; // no advice to install another backend
    this.pool = new Pool(engine);
  }

  /** Runs a kernel's function; should it throw, the outputs it made are disposed. */
  attempt<T>(kernel: () => T): T {
    this.made = [];
    try {
      return kernel();
    } catch (error) {
      for (const dataId of this.made) this.disposeData(dataId);
      throw error;
    }
  }

  /** A tensor with memory of its own, not cleared. */
  output(shape: readonly number[], dtype: tf.DataType = 'float32'): tf.TensorInfo {
    const dataId = super.write(null as unknown as tf.BackendValues, shape as number[], dtype);
    this.made.push(dataId);
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

  /** How a tensor is packed, if it is. */
  packed(tensor: tf.TensorInfo): Packed | undefined {
    return this.entry(tensor.dataId).packed;
  }

  /** A packed matrix with memory of its own, not cleared, or around `data` that the engine can read where it is. */
  packedOutput(shape: readonly number[], format: PackedFormat, data?: Values): tf.TensorInfo {
    const dataId = super.write(null as unknown as tf.BackendValues, shape as number[], 'float32');
    const entry = this.entry(dataId);
    const count = size(shape);
    entry.blocks = [];
    const take = (dtype: string, bytes: number, length: number) => {
      const block = this.pool.take(bytes);
      entry.blocks!.push(block);
      return view(block, dtype, length);
    };
    const bytes = packedBytes(format, count);
    const scaled = format === 'int8' || format === 'int4';
    entry.packed = {
      format,
      data: data ?? take('bool', bytes, bytes),
      scales: scaled ? (take('float32', (count / groupSize) * 4, count / groupSize) as Float32Array) : null,
    };
    Object.defineProperty(entry, 'values', {
      get() {
        throw new Error(`A weight [${shape}] is stored as ${format}, which only linear maps and embeddings take. Load it as float32 for other uses.`);
      },
    });
    return { dataId, shape: shape as number[], dtype: 'float32' };
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
    if (released && entry?.blocks && !this.data.has(dataId)) {
      for (const block of entry.blocks) this.pool.give(block);
      entry.blocks = undefined;
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
    const block = this.pool.take(count * (dtype === 'bool' ? 1 : 4));
    entry.blocks = [block];
    entry.values = view(block, dtype, count) as tf.BackendValues;
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
