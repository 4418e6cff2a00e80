import { inflateRawSync } from 'node:zlib';
import { decodeValues, asFloat32, type Dtype } from '../core/safetensors.js';

export interface NpyArray {
  readonly shape: number[];
  readonly values: Float32Array | Float64Array;
}

const dtypes: Record<string, Dtype> = { '<f8': 'F64', '<f4': 'F32', '<f2': 'F16', '<i8': 'I64', '<i4': 'I32', '|u1': 'U8' };

/** Reads a NumPy `.npy` file (format versions 1 to 3), little-endian numbers in C order; integers become float32. `name` is for errors. */
export function readNpy(bytes: Uint8Array, name: string): NpyArray {
  const text = (from: number, to: number) => Buffer.from(bytes.subarray(from, to)).toString('latin1');
  if (bytes.length < 10 || text(0, 6) !== '\x93NUMPY') throw new Error(`${name}: not a .npy file.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = bytes[6] === 1 ? 10 : 12;
  const end = start + (bytes[6] === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (end > bytes.length) throw new Error(`${name}: its header ends at byte ${end} of ${bytes.length}: the file is cut short.`);
  const header = text(start, end);
  const [, descr] = /'descr':\s*'([^']+)'/.exec(header) ?? [];
  const [, sizes] = /'shape':\s*\(([\d\s,]*)\)/.exec(header) ?? [];
  if (descr === undefined || sizes === undefined) throw new Error(`${name}: expected a plain array, found the header ${header.trim()}.`);
  if (/'fortran_order':\s*True/.test(header)) throw new Error(`${name}: the array is in Fortran order. Save it with numpy.ascontiguousarray.`);
  const dtype = dtypes[descr];
  if (!dtype) throw new Error(`${name}: expected one of ${Object.keys(dtypes).join(', ')}, found dtype ${descr}.`);
  const shape = sizes.split(',').map((size) => size.trim()).filter(Boolean).map(Number);
  const values = decodeValues(dtype, bytes.subarray(end));
  const count = shape.reduce((a, b) => a * b, 1);
  if (values.length !== count) throw new Error(`${name}: shape [${shape.join(', ')}] needs ${count} values, found ${values.length}: the file is cut short or broken.`);
  return { shape, values: values instanceof Float64Array ? values : asFloat32(values) };
}

/** Arrays of a NumPy `.npz` file, a zip of `.npy` files, by name without `.npy`. */
export function readNpz(bytes: Uint8Array, name: string): Map<string, NpyArray> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error(`${name}: not a .npz file, or cut short: it has no zip directory.`);
  const arrays = new Map<string, NpyArray>();
  let at = view.getUint32(end + 16, true);
  for (let entry = view.getUint16(end + 10, true); entry > 0; entry--) {
    if (view.getUint32(at, true) !== 0x02014b50) throw new Error(`${name}: its zip directory is broken at byte ${at}.`);
    const method = view.getUint16(at + 10, true);
    const [stored, nameLength, extra, comment] = [view.getUint32(at + 20, true), view.getUint16(at + 28, true), view.getUint16(at + 30, true), view.getUint16(at + 32, true)];
    const local = view.getUint32(at + 42, true);
    const file = Buffer.from(bytes.subarray(at + 46, at + 46 + nameLength)).toString('utf8');
    // NumPy writes 64-bit sizes only where a member passes 4 GiB.
    if (stored === 0xffffffff || local === 0xffffffff) throw new Error(`${name}: ${file} is larger than 4 GiB; save it as .npy.`);
    const from = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const member = bytes.subarray(from, from + stored);
    if (method !== 0 && method !== 8) throw new Error(`${name}: ${file} is compressed by method ${method}; NumPy writes stored or deflated.`);
    if (file.endsWith('.npy')) arrays.set(file.slice(0, -4), readNpy(method === 0 ? member : inflateRawSync(member), `${name}:${file}`));
    at += 46 + nameLength + extra + comment;
  }
  return arrays;
}
