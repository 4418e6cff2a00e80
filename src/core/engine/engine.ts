/** The two engines, native and WebAssembly, behind one interface: memory that kernels can reach, and kernels by name. */
export type Values = Float32Array | Int32Array | Uint16Array | Uint8Array;

/** What kernels see of values: where they are. Not what they are, since a kernel before them may not have run yet. */
export interface Memory {
  readonly byteOffset: number;
  readonly length: number;
  subarray(begin: number, end?: number): Memory;
}

/** A kernel of `native/kernels.h`; its comment there names pointers and numbers. */
export type KernelName =
  | 'gemm' | 'conv' | 'conv_grad_filter' | 'conv_grad_input' | 'attention' | 'attention_grad' | 'rope'
  | 'rms_norm' | 'rms_norm_grad_input' | 'rms_norm_grad_weight' | 'layer_norm' | 'layer_norm_grad_input' | 'layer_norm_grad_params'
  | 'group_norm' | 'group_norm_grad_input' | 'group_norm_grad_params' | 'unary' | 'binary' | 'activation' | 'activation_grad' | 'gated'
  | 'gated_grad' | 'select' | 'sum' | 'sum_of_squares' | 'max' | 'softmax' | 'move' | 'copy' | 'fill' | 'gather' | 'scatter_add' | 'upsample' | 'upsample_grad' | 'pool' | 'resize_bilinear' | 'argmax'
  | 'cross_entropy' | 'cross_entropy_grad' | 'adamw' | 'packed_product' | 'packed_rows' | 'pack' | 'decode_layer' | 'peak';

/** A piece of memory; `bytes` is its whole length. */
export interface Block {
  buffer: ArrayBufferLike;
  offset: number;
  bytes: number;
}

export interface Engine {
  readonly name: 'native' | 'wasm';
  /** Which of its variants runs, for records: 'relaxed-simd', the processor the addon was built for. */
  readonly variant: string;
  readonly threads: number;
  /** A file as memory, read by the system when it is touched; undefined where the engine cannot reach such memory. */
  mapFile?(file: string): ArrayBuffer;
  /** Bytes that `allocate` can still give, where the engine has a limit of its own. */
  room?(): number;
  /** New memory, not cleared. Throws, with a remedy, when there is none. */
  allocate(bytes: number): Block;
  /** Whether `post` returns before its kernel has run. */
  readonly isDeferred: boolean;
  /** Runs a kernel, after all that were posted; null stands for an optional tensor that is absent. Throws when it, or one of those, refuses its arguments. */
  call(kernel: KernelName, tensors: readonly (Memory | null)[], numbers: readonly number[]): void;
  /**
   * The same, to be run later where the engine can, in the order of posting. All memory is the engine's, and neither read nor written from here until
   * then. Should it refuse its arguments, what was posted behind it does not run, and the next who waits is told.
   */
  post(kernel: KernelName, tensors: readonly (Memory | null)[], numbers: readonly number[]): void;
  /** Runs all that was posted. Throws what `call` would have. */
  finish(): void;
  /** Waits for all that was posted up to now, while other work goes on here. Rejects with what `call` would have thrown. */
  finished(): Promise<void>;
  /** Milliseconds spent in kernels so far. */
  busy(): number;
}

/** Throws what an engine's answer says: 0 that no kernel refused its arguments, else 1 + 8 * kernel + status. */
export function checkAnswer(names: readonly string[], answer: number): void {
  if (answer !== 0) throw kernelError(names[(answer - 1) >> 3] ?? 'engine', (answer - 1) & 7);
}

/** What a kernel's status says. */
function kernelError(kernel: string, status: number): Error {
  const why: Record<number, string> = {
    1: 'its sizes exceed what the kernel supports',
    2: 'its statistics exceed the working memory; use fewer images or channels at a time',
    3: 'an id or label lies outside of its table',
  };
  return new Error(`${kernel}: ${why[status] ?? `failed with status ${status}`}.`);
}
