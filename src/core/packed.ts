import * as tf from '@tensorflow/tfjs';
import { openCheckpoint } from './checkpoint.js';
import { float32ToBfloat16, float32ToFloat16 } from './floats.js';
import { DreamBackend, groupSize, packedFormats, type PackedFormat } from './engine/dream-backend.js';
import { mapSpec, variable, type Params, type Spec } from './params.js';
import { asFloat32, elementCount, type TensorSource } from './safetensors.js';

/**
 * Frozen weights in 16, 8 or 4 bits, for models whose float32 form does not fit. Matrices of linear maps and embeddings are kept packed and become
 * floats inside the kernels; everything else (norms, biases, convolutions) is float32. Gradients pass through packed weights to their
 * inputs, never to themselves. Only the backend `dream` keeps them packed.
 */
export { packedFormats, type PackedFormat };

/** The current backend, if it keeps weights packed. */
function dream(): DreamBackend {
  const backend = tf.backend();
  if (!(backend instanceof DreamBackend)) {
    throw new Error(`Packed weights need the native or WebAssembly engine; the backend is ${tf.getBackend()}. Set DREAMLLM_BACKEND=native or wasm, or load them as float32.`);
  }
  return backend;
}

/** Whether a matrix can be stored so: 8 and 4 bits need rows that divide into groups of 32. */
export const canPack = (shape: readonly number[], format: PackedFormat): boolean =>
  shape.length === 2 && (format === 'bf16' || format === 'f16' || shape[1] % groupSize === 0);

/** A packed copy of a float32 matrix, rounded to nearest. The caller disposes it. */
export function pack(matrix: tf.Tensor, format: PackedFormat): tf.Variable {
  if (!canPack(matrix.shape, format)) {
    throw new Error(`pack: ${format} takes a matrix${format.startsWith('int') ? ` whose rows are multiples of ${groupSize}` : ''}, found [${matrix.shape}]. Use bf16 for it.`);
  }
  const backend = dream();
  const info = backend.packedOutput(matrix.shape, format);
  const { data, scales } = backend.packed(info)!;
  if (scales) backend.run('pack', [backend.floats(matrix), data, scales], [matrix.shape[0], matrix.size / matrix.shape[0], packedFormats.indexOf(format)]);
  else backend.openPacked(info).data.set(halves(backend.open(matrix) as Float32Array, format === 'bf16'));
  return asVariable(backend, info);
}

/** 16-bit patterns as bytes. */
function halves(values: Float32Array, brain: boolean): Uint8Array {
  const encoded = brain ? float32ToBfloat16(values.slice()) : float32ToFloat16(values);
  return new Uint8Array(encoded.buffer);
}

function asVariable(backend: DreamBackend, info: tf.TensorInfo): tf.Variable {
  const tensor = tf.engine().makeTensorFromDataId(info.dataId, info.shape, 'float32', backend) as tf.Tensor;
  const made = tf.variable(tensor, false);
  tensor.dispose();
  return made;
}

/**
 * Reads a checkpoint with its matrices packed. A matrix stored as bf16 or f16 in a safetensors file and wanted as such is not read at all by
 * the native engine but mapped: the system loads its pages when they are used and may drop them again, so a model larger than memory runs
 * from the disk. Keys that the spec lacks are ignored; one that the checkpoint lacks is an error.
 */
export function loadPacked<S extends Spec>(spec: S, from: string | TensorSource, format: PackedFormat, prefix = ''): Params<S> {
  const backend = dream();
  const source = typeof from === 'string' ? openCheckpoint(from) : from;
  const maps = new Map<string, ArrayBuffer>();
  try {
    return mapSpec(spec, (key, { shape, layout }) => {
      const stored = source.tensors.get(key);
      if (!stored) throw new Error(`${source.name} has no tensor "${key}" of shape [${shape}]. It has ${source.tensors.size}, first "${[...source.tensors.keys()][0]}".`);
      const expected = layout ? [shape[3], shape[2], shape[0], shape[1]] : shape;
      if (stored.shape.join() !== expected.join()) throw new Error(`${source.name}: expected "${key}" to be [${expected}], found [${stored.shape}].`);
      if (!canPack(shape, format)) return readVariable(source, key, shape, layout !== undefined);
      if (stored.dtype === format.toUpperCase()) return asVariable(backend, asStored(backend, source, key, shape, format, maps));
      const matrix = tf.tensor(asFloat32(source.read(key).values), shape, 'float32');
      const packed = pack(matrix, format);
      matrix.dispose();
      return packed;
    }, prefix);
  } finally {
    if (typeof from === 'string') source.close();
  }
}

function readVariable(source: TensorSource, key: string, shape: number[], isConv: boolean): tf.Variable {
  const values = asFloat32(source.read(key).values);
  if (!isConv) return variable(values, shape);
  return tf.tidy(() => tf.variable(tf.tensor(values, [shape[3], shape[2], shape[0], shape[1]]).transpose([2, 3, 1, 0]), false));
}

/** A matrix whose file holds it in the wanted format: its file mapped, or its bytes read into the engine's memory. */
function asStored(backend: DreamBackend, source: TensorSource, key: string, shape: number[], format: PackedFormat, maps: Map<string, ArrayBuffer>): tf.TensorInfo {
  const place = source.locate?.(key);
  if (place && backend.engine.mapFile && place.offset % 2 === 0) {
    const map = maps.get(place.file) ?? backend.engine.mapFile(place.file);
    maps.set(place.file, map);
    return backend.packedOutput(shape, format, new Uint16Array(map, place.offset, elementCount(shape)));
  }
  const info = backend.packedOutput(shape, format);
  const { data } = backend.openPacked(info);
  const raw = source.readRaw?.(key, () => data as Uint8Array);
  if (!raw) throw new Error(`${source.name} gives no raw bytes of "${key}". Convert it to safetensors.`);
  return info;
}
