import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { decodeValues, elementCount, elementSize, type Dtype, type Scratch, type StoredTensor, type TensorInfo, type TensorSource } from './safetensors.js';

/**
 * Reads checkpoints written by `torch.save` (a zip of stored entries around a pickle) without executing anything: the pickle machine below knows
 * some thirty opcodes and an allow-list of names, and refuses every other by name. Tensors are read one at a time.
 */
export function openTorchCheckpoint(file: string): TensorSource {
  const fd = openSync(file, 'r');
  try {
    const entries = readZipDirectory(fd, file);
    const pickle = [...entries.keys()].find((name) => name === 'data.pkl' || name.endsWith('/data.pkl'));
    if (!pickle) throw new Error(`${file} holds no data.pkl, so torch.save did not write it. Entries: ${[...entries.keys()].slice(0, 3).join(', ')}.`);
    const root = pickle.slice(0, -'data.pkl'.length);
    const byteOrder = entries.get(`${root}byteorder`);
    if (byteOrder && Buffer.from(readEntry(fd, file, byteOrder)).toString() !== 'little') throw new Error(`${file} is big-endian. Save it again on a little-endian machine.`);

    const tensors = new Map<string, LazyTensor>();
    collect(unpickle(readEntry(fd, file, entries.get(pickle)!), file), '', tensors, file);
    for (const [key, tensor] of tensors) checkBounds(key, tensor, entries.get(`${root}data/${tensor.storage.key}`), file);

    let open = true;
    const locate = (key: string): { tensor: LazyTensor; entry: ZipEntry } => {
      const tensor = tensors.get(key);
      if (!tensor) throw new Error(`${file} has no tensor "${key}". It has ${tensors.size}, first "${[...tensors.keys()][0]}".`);
      if (!open) throw new Error(`${file} was closed before "${key}" was read.`);
      return { tensor, entry: entries.get(`${root}data/${tensor.storage.key}`)! };
    };
    return {
      name: file,
      metadata: {},
      tensors,
      read(key): StoredTensor {
        const { tensor, entry } = locate(key);
        return readTensor(fd, file, tensor, entry);
      },
      readRaw(key, scratch) {
        const { tensor, entry } = locate(key);
        if (!isContiguous(tensor)) return undefined;
        const { dtype, shape, offset } = tensor;
        const size = elementSize(dtype);
        return { dtype, shape, bytes: readBytes(fd, file, dataStart(fd, file, entry) + offset * size, elementCount(shape) * size, scratch) };
      },
      close() {
        if (open) closeSync(fd);
        open = false;
      },
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Whether a file begins as a zip does. */
export function isZip(file: string): boolean {
  const fd = openSync(file, 'r');
  try {
    const start = Buffer.alloc(4);
    readSync(fd, start, 0, 4, 0);
    return start.readUInt32LE(0) === 0x04034b50;
  } finally {
    closeSync(fd);
  }
}

interface ZipEntry {
  /** Position of the local header, and size of the data. */
  header: number;
  size: number;
}

/** The entries of a zip file, from its central directory (APPNOTE.TXT 4.3; zip64 where the file is larger than 4 GB). */
function readZipDirectory(fd: number, file: string): Map<string, ZipEntry> {
  const fileSize = fstatSync(fd).size;
  const refuse = (why: string): never => {
    throw new Error(`${file} is not a readable torch checkpoint: ${why}. Files of PyTorch before 1.6 are not zips: load such a file there and save it again.`);
  };
  const tailSize = Math.min(fileSize, 65557);
  const tail = readBytes(fd, file, fileSize - tailSize, tailSize);
  const end = tail.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  if (end < 0 || end + 22 > tail.length) return refuse('it has no zip directory');
  let count = tail.readUInt16LE(end + 10);
  let size = tail.readUInt32LE(end + 12);
  let offset = tail.readUInt32LE(end + 16);
  if (count === 0xffff || size === 0xffffffff || offset === 0xffffffff) {
    const locator = end - 20;
    if (locator < 0 || tail.readUInt32LE(locator) !== 0x07064b50) return refuse('its zip64 directory is missing');
    const record = readBytes(fd, file, Number(tail.readBigUInt64LE(locator + 8)), 56);
    if (record.readUInt32LE(0) !== 0x06064b50) return refuse('its zip64 directory is damaged');
    count = Number(record.readBigUInt64LE(32));
    size = Number(record.readBigUInt64LE(40));
    offset = Number(record.readBigUInt64LE(48));
  }
  if (offset + size > fileSize) return refuse('its zip directory lies beyond its end');

  const directory = readBytes(fd, file, offset, size);
  const entries = new Map<string, ZipEntry>();
  for (let at = 0, i = 0; i < count; i++) {
    if (at + 46 > size || directory.readUInt32LE(at) !== 0x02014b50) return refuse('its zip directory is damaged');
    const method = directory.readUInt16LE(at + 10);
    let compressed = directory.readUInt32LE(at + 20);
    let plain = directory.readUInt32LE(at + 24);
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => directory.readUInt16LE(at + field));
    let header = directory.readUInt32LE(at + 42);
    const name = directory.toString('utf8', at + 46, at + 46 + nameLength);
    for (let extra = at + 46 + nameLength, stop = extra + extraLength; extra + 4 <= stop; ) {
      const [id, length] = [directory.readUInt16LE(extra), directory.readUInt16LE(extra + 2)];
      if (id === 1) {
        let field = extra + 4;
        const next = () => Number(directory.readBigUInt64LE((field += 8) - 8));
        if (plain === 0xffffffff) plain = next();
        if (compressed === 0xffffffff) compressed = next();
        if (header === 0xffffffff) header = next();
      }
      extra += 4 + length;
    }
    if (method !== 0 || compressed !== plain) return refuse(`entry "${name}" is compressed (method ${method}); torch.save stores its entries`);
    if (header + plain > fileSize) return refuse(`entry "${name}" lies beyond its end`);
    entries.set(name, { header, size: plain });
    at += 46 + nameLength + extraLength + commentLength;
  }
  return entries;
}

function readBytes(fd: number, file: string, position: number, length: number, scratch?: Scratch): Buffer {
  const bytes = scratch ? inBuffer(scratch(length)) : Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const count = readSync(fd, bytes, done, Math.min(length - done, 2 ** 30), position + done);
    if (count === 0) throw new Error(`${file}: expected ${length} bytes at ${position}, found only ${done}.`);
    done += count;
  }
  return bytes;
}

const inBuffer = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer => Buffer.from(buffer, byteOffset, byteLength);

/** Data of an entry start behind its local header, whose name and extra field may differ in length from the directory's. */
function dataStart(fd: number, file: string, entry: ZipEntry): number {
  const local = readBytes(fd, file, entry.header, 30);
  if (local.readUInt32LE(0) !== 0x04034b50) throw new Error(`${file} has a damaged entry at byte ${entry.header}.`);
  return entry.header + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
}

const readEntry = (fd: number, file: string, entry: ZipEntry): Buffer => readBytes(fd, file, dataStart(fd, file, entry), entry.size);

class Name {
  constructor(readonly text: string) {}
}
class Storage {
  constructor(readonly dtype: Dtype, readonly key: string) {}
}
class LazyTensor implements TensorInfo {
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

/** The value of a pickle of protocol 2 to 5, made of numbers, text, arrays, maps and lazy tensors. */
function unpickle(bytes: Buffer, file: string): unknown {
  const stack: unknown[] = [];
  const marks: number[] = [];
  const memo: unknown[] = [];
  let at = 0;

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
      case '.': return pop(); // STOP
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
        const start = take(length);
        for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[start + i]);
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
      case 'Q': { // BINPERSID: ('storage', type, key, device, size)
        const id = pop();
        if (!Array.isArray(id) || id[0] !== 'storage' || !(id[1] instanceof Name) || typeof id[2] !== 'string') return refuse('has a damaged storage');
        const dtype = storageDtypes[id[1].text.slice('torch.'.length)];
        if (!dtype || !/^[\w.-]+$/.test(id[2])) return refuse('has a damaged storage');
        stack.push(new Storage(dtype, id[2]));
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

function checkBounds(key: string, { storage, offset, shape, strides }: LazyTensor, entry: ZipEntry | undefined, file: string): void {
  if (!entry) throw new Error(`${file}: the data of "${key}" (storage ${storage.key}) is missing.`);
  const last = elementCount(shape) === 0 ? -1 : offset + shape.reduce((sum, size, i) => sum + (size - 1) * strides[i], 0);
  const available = Math.floor(entry.size / elementSize(storage.dtype));
  if (last >= available) throw new Error(`${file}: "${key}" reaches element ${last} of a storage of ${available}.`);
}

const isContiguous = ({ shape, strides }: LazyTensor): boolean =>
  elementCount(shape) === 0 || strides.every((stride, i) => shape[i] === 1 || stride === elementCount(shape.slice(i + 1)));

function readTensor(fd: number, file: string, tensor: LazyTensor, entry: ZipEntry): StoredTensor {
  const { offset, shape, strides, dtype } = tensor;
  const count = elementCount(shape);
  const size = elementSize(dtype);
  const start = dataStart(fd, file, entry);
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
