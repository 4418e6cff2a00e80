import * as tf from '@tensorflow/tfjs';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import type { Block, Engine, KernelName, Memory, Values } from './engine.js';
import { Pool, view } from './pool.js';

/** What tfjs' cpu kernels expect to find of a tensor. They get values that all posted kernels have written, ours the memory. */
class Entry {
  refCount = 1;
  complexTensorInfos?: unknown;
  blocks?: Block[];
  packed?: OpenPacked;
  memory: tf.BackendValues | null = null;
  /** The values as they were given, of small tables of ids, which can then be checked without waiting. */
  given?: Int32Array;

  constructor(private readonly backend: DreamBackend, readonly shape: readonly number[], readonly dtype: tf.DataType) {}

  get values(): tf.BackendValues | null {
    this.backend.finish();
    return this.plain();
  }

  /** The memory, of what is not packed. */
  plain(): tf.BackendValues | null {
    if (this.packed) throw new Error(`A weight [${this.shape}] is stored as ${this.packed.format}, which only linear maps and embeddings take. Load it as float32 for other uses.`);
    return this.memory;
  }

  set values(values: tf.BackendValues | null) {
    this.memory = values;
  }
}

/** Formats for frozen weights, in the order of native/packed.h: 16-bit floats, or 8- or 4-bit integers with a scale for each 32 neighbours. */
export const packedFormats = ['bf16', 'f16', 'int8', 'int4'] as const;
export type PackedFormat = (typeof packedFormats)[number];

/** A matrix in few bits. The kernels that take one (linear, its gradient, embedding) read it as it is; to others it has no values. */
export interface Packed {
  format: PackedFormat;
  data: Memory;
  scales: Memory | null;
}

/** The same where no kernel is under way, so that it can be read and written. */
export interface OpenPacked extends Packed {
  data: Values;
  scales: Float32Array | null;
}

export const groupSize = 32;

/** Bytes of values on their way into the engine's memory; more than a batch of pictures. */
const STAGED = 8 * 2 ** 20;

/** Ids of a batch are fewer. */
const IDS = 2 ** 16;

let nextId = 0;

/** So few kernels are sooner run here than waited for. */
const FEW = 32;

/** Bytes of a packed matrix without its scales. */
export const packedBytes = (format: PackedFormat, count: number): number => (format === 'int4' ? count / 2 : format === 'int8' ? count : 2 * count);

/**
 * A tfjs backend whose tensors lie in an engine's memory. Kernels that the engine lacks run as those of the plain cpu backend, which find
 * their inputs in `data` as they expect. Every value is copied on the way in and out: nothing aliases a pooled buffer.
 *
 * An engine may run kernels later than they are called. Memory goes back to the pool as if they had run, since what takes it next is written by kernels
 * that run behind them. Whoever reads or writes memory from here asks `open` for it.
 */
export class DreamBackend extends MathBackendCPU {
  readonly pool: Pool;
  /** Outputs made since a kernel began, to be given back if it fails. */
  private made: object[] = [];
  /** Where values wait for the kernel that moves them to their place, and how many bytes of it are taken. */
  private staging: Block | undefined;
  private staged = 0;
  /** Kernels posted since all had run. */
  private posted = 0;

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
    const [dataId, entry] = this.enter(shape, dtype);
    this.made.push(dataId);
    this.fill(entry, dtype, size(shape));
    return { dataId, shape: shape as number[], dtype };
  }

  /** The engine's memory of a tensor, for kernels. */
  memoryOf(tensor: tf.TensorInfo): Memory {
    return this.entry(tensor.dataId).plain() as Values;
  }

  /** The same, for 32-bit floats. Throws on other types. */
  floats(tensor: tf.TensorInfo): Memory {
    if (tensor.dtype !== 'float32') throw new Error(`Expected a tensor of type float32, found ${tensor.dtype}. Convert it with toFloat().`);
    return this.memoryOf(tensor);
  }

  /** A tensor's values to be read or written here, until the next kernel. */
  open(tensor: tf.TensorInfo): Values {
    return this.entry(tensor.dataId).values as Values;
  }

  /** A list for the kernel that is run next. */
  list(numbers: readonly number[]): Int32Array {
    const list = this.stage('int32', numbers.length) as Int32Array;
    list.set(numbers);
    return list;
  }

  /** How a tensor is packed, if it is, for kernels. */
  packed(tensor: tf.TensorInfo): Packed | undefined {
    return this.entry(tensor.dataId).packed;
  }

  /** What a packed tensor consists of, to be read or written here, until the next kernel. */
  openPacked(tensor: tf.TensorInfo): OpenPacked {
    this.finish();
    return this.entry(tensor.dataId).packed!;
  }

  /** A packed matrix with memory of its own, not cleared, or around `data` that the engine can read where it is. */
  packedOutput(shape: readonly number[], format: PackedFormat, data?: Values): tf.TensorInfo {
    const [dataId, entry] = this.enter(shape, 'float32');
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
    return { dataId, shape: shape as number[], dtype: 'float32' };
  }

  /** Runs a kernel, later if the engine does. */
  run(kernel: KernelName, tensors: readonly (Memory | null)[], numbers: readonly number[]): void {
    if (this.engine.isDeferred) this.posted++;
    this.engine.post(kernel, tensors, numbers);
  }

  /** Runs a kernel that looks `ids` up in a table of `size`: at once, to have its complaint, unless they are seen to be valid. `allowed` may lie outside. */
  lookUp(kernel: KernelName, tensors: readonly (Memory | null)[], numbers: readonly number[], ids: tf.TensorInfo, size: number, allowed?: number): void {
    const { given } = this.entry(ids.dataId);
    if (given?.every((id) => (id >= 0 && id < size) || id === allowed)) this.run(kernel, tensors, numbers);
    else this.runNow(kernel, tensors, numbers);
  }

  private runNow(kernel: KernelName, tensors: readonly (Memory | null)[], numbers: readonly number[]): void {
    this.engine.call(kernel, tensors, numbers);
    this.posted = 0;
  }

  /** Returns when all kernels have run. Throws what one that was posted has to complain of. */
  finish(): void {
    if (this.posted === 0) return;
    this.posted = 0;
    this.engine.finish();
  }

  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): object {
    const [dataId, entry] = this.enter(shape, dtype);
    entry.memory = values;
    this.adopt(entry);
    return dataId;
  }

  override move(dataId: object, values: tf.BackendValues, shape: number[], dtype: tf.DataType, refCount: number): void {
    const [, entry] = this.enter(shape, dtype, dataId);
    entry.refCount = refCount;
    entry.memory = values;
    this.adopt(entry);
  }

  override readSync(dataId: object): tf.BackendValues {
    const values = super.readSync(dataId);
    return ArrayBuffer.isView(values) ? (values as Float32Array).slice() : values;
  }

  /** The values when the kernels that make them have run; the tensor may be disposed of or changed before that. Other work goes on meanwhile, if there is much to wait for. */
  override async read(dataId: object): Promise<tf.BackendValues> {
    const { memory } = this.entry(dataId);
    if (this.posted <= FEW || !ArrayBuffer.isView(memory) || memory instanceof Uint8Array) return this.readSync(dataId);
    const block = this.pool.take(memory.byteLength);
    const values = view(block, memory instanceof Int32Array ? 'int32' : 'float32', memory.length);
    try {
      this.run('move', [memory as Values, values], [memory.byteLength]);
      const { posted } = this;
      await this.engine.finished();
      if (this.posted === posted) this.posted = 0;
      return values.slice() as tf.BackendValues;
    } finally {
      this.pool.give(block);
    }
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

  private enter(shape: readonly number[], dtype: tf.DataType, dataId: object = { id: nextId++ }): [dataId: object, entry: Entry] {
    const entry = new Entry(this, shape, dtype);
    this.data.set(dataId, entry as never);
    return [dataId, entry];
  }

  private fill(entry: Entry, dtype: tf.DataType, count: number): void {
    const block = this.pool.take(count * (dtype === 'bool' ? 1 : 4));
    entry.blocks = [block];
    entry.memory = view(block, dtype, count) as tf.BackendValues;
  }

  /** Copies an entry's values into the engine's memory. */
  private adopt(entry: Entry): void {
    const given = entry.memory;
    if (given == null || entry.dtype === 'string' || entry.dtype === 'complex64') return;
    this.fill(entry, entry.dtype, given.length);
    const to = entry.memory as Values;
    const from = this.posted === 0 ? to : this.stage(entry.dtype, to.length) ?? to;
    from.set(given as unknown as ArrayLike<number>);
    if (from !== to) this.run('move', [from, to], [to.byteLength]);
    if (to instanceof Int32Array && to.length <= IDS) entry.given = from.slice() as Int32Array;
  }

  /** Memory that no kernel uses, for values that a kernel posted next reads. Undefined when they are too many; then all kernels have run. */
  private stage(dtype: tf.DataType, count: number): Values | undefined {
    const bytes = Math.ceil(count / 16) * 64;
    if (this.staged + bytes > STAGED) this.finish();
    if (this.posted === 0) this.staged = 0;
    if (bytes > STAGED) return undefined;
    const { buffer, offset } = (this.staging ??= this.engine.allocate(STAGED));
    const at = { buffer, offset: offset + this.staged, bytes };
    this.staged += bytes;
    return view(at, dtype, count);
  }
}

export const size = (shape: readonly number[]): number => {
  let product = 1;
  for (const n of shape) product *= n;
  return product;
};
