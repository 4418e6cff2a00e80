import { closeSync, readSync } from 'node:fs';
import { decodeValues, elementCount, elementSize, type Dtype, type Scratch, type StoredTensor, type TensorInfo, type TensorSource } from './safetensors.js';

/**
 * What `torch.save` pickles, read without executing anything: the machine below knows some thirty opcodes and an allow-list of names, and
 * refuses every other by name.
 */
class Name {
  constructor(readonly text: string) {}
}
export class Storage {
  constructor(readonly dtype: Dtype, readonly key: string) {}
}
export class LazyTensor implements TensorInfo {
  readonly dtype: Dtype;
  constructor(readonly storage: Storage, readonly offset: number, readonly shape: number[], readonly strides: number[]) {
    this.dtype = storage.dtype;
  }
}

const storageDtypes: Record<string, Dtype> = {
  DoubleStorage: 'F64', FloatStorage: 'F32', HalfStorage: 'F16', BFloat16Storage: 'BF16',
  LongStorage: 'I64', IntStorage: 'I32', ShortStorage: 'I16', CharStorage: 'I8', ByteStorage: 'U8', BoolStorage: 'BOOL',
};

/** What a pickle may name. A call of anything else cannot even be spelled: `GLOBAL` refuses it. */
const allowed = new Set([
  'torch._utils._rebuild_tensor_v2',
  'torch._utils._rebuild_parameter',
  'torch.nn.parameter._rebuild_parameter',
  'collections.OrderedDict',
  ...Object.keys(storageDtypes).map((storage) => `torch.${storage}`),
]);

type Dict = Map<unknown, unknown>;

/**
 * The value of the pickle of protocol 2 to 5 at `start`, made of numbers, text, arrays, maps and lazy tensors, and where the pickle ends.
 * `onStorage` is told of every storage that is named.
 */
export function unpickle(bytes: Buffer, file: string, start = 0, onStorage?: (storage: Storage) => void): { value: unknown; end: number } {
  const stack: unknown[] = [];
  const marks: number[] = [];
  const memo: unknown[] = [];
  let at = start;

  const refuse = (why: string): never => {
    throw new Error(`${file} was refused: its pickle ${why}. Only tensors in plain containers are read, and nothing in a file is executed.`);
  };
  const take = (count: number) => {
    if (at + count > bytes.length) refuse('ends early');
    return (at += count) - count;
  };
  const pop = () => (stack.length ? stack.pop() : refuse('is damaged (empty stack)'));
  const top = () => (stack.length ? stack[stack.length - 1] : refuse('is damaged (empty stack)'));
  const popToMark = () => stack.splice(marks.pop() ?? refuse('is damaged (no mark)'));
  const line = () => {
    const end = bytes.indexOf(10, at);
    if (end < 0) refuse('ends early');
    const text = bytes.toString('utf8', at, end);
    at = end + 1;
    return text;
  };
  const text = (length: number) => bytes.toString('utf8', take(length), at);
  const global = (module: unknown, name: unknown) => {
    const path = `${module}.${name}`;
    if (!allowed.has(path)) refuse(`names "${path}"`);
    return new Name(path);
  };
  const append = (target: unknown, items: unknown[]) => {
    if (!Array.isArray(target)) return refuse('appends to something that is no list');
    for (const item of items) target.push(item);
  };
  const setItems = (target: unknown, items: unknown[]) => {
    if (!(target instanceof Map)) return refuse('sets an item of something that is no dictionary');
    for (let i = 0; i + 1 < items.length; i += 2) target.set(items[i], items[i + 1]);
  };
  const call = (name: unknown, parameters: unknown): unknown => {
    if (!(name instanceof Name) || !Array.isArray(parameters)) return refuse('calls something that is no allowed function');
    if (name.text === 'collections.OrderedDict') {
      const made: Dict = new Map();
      const pairs: unknown = parameters[0] ?? [];
      if (!Array.isArray(pairs) || !pairs.every(Array.isArray)) return refuse('has a damaged dictionary');
      for (const [key, value] of pairs) made.set(key, value);
      return made;
    }
    if (name.text.endsWith('_rebuild_parameter')) {
      return parameters[0] instanceof LazyTensor ? parameters[0] : refuse('has a parameter that is no tensor');
    }
    if (name.text.endsWith('_rebuild_tensor_v2')) {
      const [storage, offset, shape, strides] = parameters;
      const areSizes = (list: unknown): list is number[] => Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && n >= 0);
      if (!(storage instanceof Storage) || !areSizes([offset]) || !areSizes(shape) || !areSizes(strides) || shape.length !== strides.length) return refuse('has a damaged tensor');
      return new LazyTensor(storage, offset as number, shape, strides);
    }
    return refuse(`calls "${name.text}"`);
  };

  while (at < bytes.length) {
    const code = bytes[at++];
    switch (String.fromCharCode(code)) {
      case '\x80': { // PROTO
        const version = bytes[take(1)];
        if (version < 2 || version > 5) refuse(`has protocol ${version}, expected 2 to 5`);
        break;
      }
      case '\x95': take(8); break; // FRAME
      case '.': return { value: pop(), end: at }; // STOP
      case '(': marks.push(stack.length); break;
      case '0': pop(); break;
      case '1': popToMark(); break; // POP_MARK
      case '2': stack.push(top()); break; // DUP
      case 'N': stack.push(null); break;
      case '\x88': stack.push(true); break;
      case '\x89': stack.push(false); break;
      case 'K': stack.push(bytes[take(1)]); break; // BININT1
      case 'M': stack.push(bytes.readUInt16LE(take(2))); break; // BININT2
      case 'J': stack.push(bytes.readInt32LE(take(4))); break; // BININT
      case '\x8a': { // LONG1: little-endian two's complement
        const length = bytes[take(1)];
        let value = 0n;
        const first = take(length);
        for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[first + i]);
        stack.push(Number(length ? BigInt.asIntN(8 * length, value) : 0n));
        break;
      }
      case 'G': stack.push(bytes.readDoubleBE(take(8))); break; // BINFLOAT
      case 'X': stack.push(text(bytes.readUInt32LE(take(4)))); break; // BINUNICODE
      case '\x8c': stack.push(text(bytes[take(1)])); break; // SHORT_BINUNICODE
      case 'U': stack.push(text(bytes[take(1)])); break; // SHORT_BINSTRING
      case 'T': stack.push(text(bytes.readUInt32LE(take(4)))); break; // BINSTRING
      case ')': stack.push([]); break;
      case 't': stack.push(popToMark()); break;
      case '\x85': stack.push(stack.splice(-1)); break;
      case '\x86': stack.push(stack.splice(-2)); break;
      case '\x87': stack.push(stack.splice(-3)); break;
      case ']': stack.push([]); break;
      case 'a': { const item = pop(); append(top(), [item]); break; }
      case 'e': { const items = popToMark(); append(top(), items); break; }
      case '}': stack.push(new Map()); break;
      case 's': { const value = pop(), key = pop(); setItems(top(), [key, value]); break; }
      case 'u': { const items = popToMark(); setItems(top(), items); break; }
      case 'q': memo[bytes[take(1)]] = top(); break; // BINPUT
      case 'r': memo[bytes.readUInt32LE(take(4))] = top(); break; // LONG_BINPUT
      case '\x94': memo.push(top()); break; // MEMOIZE
      case 'h': stack.push(memo[bytes[take(1)]]); break; // BINGET
      case 'j': stack.push(memo[bytes.readUInt32LE(take(4))]); break; // LONG_BINGET
      case 'c': stack.push(global(line(), line())); break; // GLOBAL
      case '\x93': { const name = pop(), module = pop(); stack.push(global(module, name)); break; } // STACK_GLOBAL
      case 'R': { const parameters = pop(); stack.push(call(pop(), parameters)); break; } // REDUCE
      case 'b': { // BUILD: torch sets `_metadata` on a state dict; it holds no tensors
        pop();
        if (!(top() instanceof Map)) refuse('sets the state of something that is no dictionary');
        break;
      }
      case 'Q': { // BINPERSID: ('storage', type, key, device, size), and before PyTorch 1.6 a view, which nobody has used for years
        const id = pop();
        if (!Array.isArray(id) || id[0] !== 'storage' || !(id[1] instanceof Name) || typeof id[2] !== 'string' || (id[5] ?? null) !== null) return refuse('has a damaged storage');
        const dtype = storageDtypes[id[1].text.slice('torch.'.length)];
        if (!dtype || !/^[\w.-]+$/.test(id[2])) return refuse('has a damaged storage');
        const storage = new Storage(dtype, id[2]);
        onStorage?.(storage);
        stack.push(storage);
        break;
      }
      default:
        refuse(`has the opcode 0x${code.toString(16)} at byte ${at - 1}`);
    }
  }
  return refuse('ends early');
}

/**
 * The tensors of nested dictionaries under dotted keys; a bare tensor is called `tensor`. A dictionary under "state_dict" is taken for the whole.
 * A dictionary met twice is refused: one inside itself would have no end.
 */
function collect(value: unknown, key: string, into: Map<string, LazyTensor>, file: string, seen = new Set<unknown>()): void {
  if (value instanceof LazyTensor) into.set(key || 'tensor', value);
  else if (value instanceof Map) {
    if (seen.has(value)) throw new Error(`${file} was refused: its pickle holds one dictionary twice, at "${key}".`);
    seen.add(value);
    const inner = !key && value.get('state_dict');
    if (inner instanceof Map) return collect(inner, '', into, file, seen);
    for (const [name, child] of value) collect(child, key ? `${key}.${name}` : String(name), into, file, seen);
  } else if (!key) throw new Error(`${file}: expected a dictionary of tensors or a tensor, found ${value === null ? 'None' : typeof value}.`);
}

/** Bytes of a storage in the file. */
export interface Extent {
  start: number;
  size: number;
}

/** The tensors in `value`, read one at a time from the open file `fd`, where `locate` finds a storage by its key. Closes `fd` when it is closed. */
export function lazySource(fd: number, file: string, value: unknown, locate: (storage: string) => Extent | undefined): TensorSource {
  const tensors = new Map<string, LazyTensor>();
  collect(value, '', tensors, file);
  for (const [key, tensor] of tensors) checkBounds(key, tensor, locate(tensor.storage.key), file);
  let open = true;
  const find = (key: string): { tensor: LazyTensor; extent: Extent } => {
    const tensor = tensors.get(key);
    if (!tensor) throw new Error(`${file} has no tensor "${key}". It has ${tensors.size}, first "${[...tensors.keys()][0]}".`);
    if (!open) throw new Error(`${file} was closed before "${key}" was read.`);
    return { tensor, extent: locate(tensor.storage.key)! };
  };
  return {
    name: file,
    metadata: {},
    tensors,
    read(key): StoredTensor {
      const { tensor, extent } = find(key);
      return readTensor(fd, file, tensor, extent);
    },
    readRaw(key, scratch) {
      const { tensor, extent } = find(key);
      if (!isContiguous(tensor)) return undefined;
      const { dtype, shape, offset } = tensor;
      const size = elementSize(dtype);
      return { dtype, shape, bytes: readBytes(fd, file, extent.start + offset * size, elementCount(shape) * size, scratch) };
    },
    close() {
      if (open) closeSync(fd);
      open = false;
    },
  };
}

function checkBounds(key: string, { storage, offset, shape, strides }: LazyTensor, extent: Extent | undefined, file: string): void {
  if (!extent) throw new Error(`${file}: the data of "${key}" (storage ${storage.key}) is missing.`);
  const last = elementCount(shape) === 0 ? -1 : offset + shape.reduce((sum, size, i) => sum + (size - 1) * strides[i], 0);
  const available = Math.floor(extent.size / elementSize(storage.dtype));
  if (last >= available) throw new Error(`${file}: "${key}" reaches element ${last} of a storage of ${available}.`);
}

const isContiguous = ({ shape, strides }: LazyTensor): boolean =>
  elementCount(shape) === 0 || strides.every((stride, i) => shape[i] === 1 || stride === elementCount(shape.slice(i + 1)));

function readTensor(fd: number, file: string, tensor: LazyTensor, { start }: Extent): StoredTensor {
  const { offset, shape, strides, dtype } = tensor;
  const count = elementCount(shape);
  const size = elementSize(dtype);
  if (isContiguous(tensor)) return { dtype, shape, values: decodeValues(dtype, readBytes(fd, file, start + offset * size, count * size)) };

  // A transposed view: read the part of the storage that it touches, then gather row-major.
  const span = 1 + shape.reduce((sum, length, i) => sum + (length - 1) * strides[i], 0);
  const raw = readBytes(fd, file, start + offset * size, span * size);
  const gathered = new Uint8Array(count * size);
  const index = shape.map(() => 0);
  for (let i = 0; i < count; i++) {
    const from = index.reduce((sum, n, axis) => sum + n * strides[axis], 0) * size;
    for (let b = 0; b < size; b++) gathered[i * size + b] = raw[from + b];
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis] === shape[axis]; axis--) index[axis] = 0;
  }
  return { dtype, shape, values: decodeValues(dtype, gathered) };
}

export function readBytes(fd: number, file: string, position: number, length: number, scratch?: Scratch): Buffer {
  const bytes = scratch ? inBuffer(scratch(length)) : Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const count = readSync(fd, bytes, done, Math.min(length - done, 2 ** 30), position + done);
    if (count === 0) throw new Error(`${file}: expected ${length} bytes at ${position}, found only ${done}.`);
    done += count;
  }
  return bytes;
}

const inBuffer = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer => Buffer.from(buffer, byteOffset, byteLength);
