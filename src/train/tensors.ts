import * as tf from '@tensorflow/tfjs';
import { asFloat32, readSafetensors, writeSafetensors } from '../core/safetensors.js';

/** A variable with the values of `tensor` in memory of its own: an optimizer may write into the buffer of the original. */
export function copyOf(tensor: tf.Tensor): tf.Variable {
  const value = tensor.add(0);
  const copy = tf.variable(value, false);
  value.dispose();
  return copy;
}

export function zerosLike(tensor: tf.Tensor): tf.Variable {
  const value = tf.zeros(tensor.shape);
  const made = tf.variable(value, false);
  value.dispose();
  return made;
}

/** Writes variables exactly as they are in memory, float32. */
export function saveExact(file: string, variables: ReadonlyMap<string, tf.Tensor>): void {
  writeSafetensors(file, new Map([...variables].map(([key, tensor]) => [key, { dtype: 'F32', shape: tensor.shape, values: () => asFloat32(tensor.dataSync()) }])));
}

/** Gives variables the values that `saveExact` wrote. The file must hold these keys and shapes and no others. */
export function loadExact(file: string, variables: ReadonlyMap<string, tf.Variable>): void {
  const { tensors } = readSafetensors(file);
  const missing = [...variables.keys()].filter((key) => !tensors.has(key));
  const unexpected = [...tensors.keys()].filter((key) => !variables.has(key));
  if (missing.length + unexpected.length > 0) {
    throw new Error(
      `${file} is of another run: it lacks ${list(missing)} and has ${list(unexpected)} beside what was expected. Start a new run instead of resuming this one.`,
    );
  }
  for (const [key, variable] of variables) {
    const { values, shape } = tensors.get(key)!;
    if (!tf.util.arraysEqual(shape, variable.shape)) throw new Error(`${file}: expected "${key}" to be [${variable.shape}], found [${shape}].`);
    const value = tf.tensor(asFloat32(values), shape, 'float32');
    variable.assign(value);
    value.dispose();
  }
}

const list = (keys: string[]) => (keys.length === 0 ? 'nothing' : `${keys.length} keys, first "${keys[0]}",`);

/** The first tensor with a value that is not finite, with how many there are. */
export async function firstNonFinite(named: Iterable<readonly [string, tf.Tensor]>): Promise<string | undefined> {
  for (const [name, tensor] of named) {
    const values = await tensor.data();
    let bad = 0;
    let first: number | undefined;
    for (let i = 0; i < values.length; i++) {
      if (!Number.isFinite(values[i])) {
        bad++;
        first ??= values[i];
      }
    }
    if (bad > 0) return `${name} [${tensor.shape}] (${bad} of ${values.length} values, first ${first})`;
  }
  return undefined;
}
