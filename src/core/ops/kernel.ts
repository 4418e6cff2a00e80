import * as tf from '@tensorflow/tfjs';

/** What a composed kernel gets: the tensors that were given (optional ones may be missing) and its attributes. */
export type Inputs = Record<string, tf.Tensor>;
export type Attributes = Record<string, unknown>;
export type Composition = (inputs: any, attributes: any) => tf.Tensor | tf.Tensor[];

const compositions = new Map<string, Composition>();

/**
 * Declares the kernel `name` by stock tfjs operations. They implement it on every backend that has registered none of its own; a backend
 * with a fused kernel registers that under the same name with `tf.registerKernel`.
 */
export function defineKernel(name: string, composition: Composition): void {
  compositions.set(name, composition);
}

/** The names of all kernels declared here. */
export const kernelNames = (): string[] => [...compositions.keys()];

/** Runs a declared kernel on the current backend, by its composition where the backend has none. Missing optional inputs are left out. */
export function run(name: string, inputs: Record<string, tf.Tensor | undefined>, attributes: Attributes = {}): tf.Tensor | tf.Tensor[] {
  const backend = tf.getBackend();
  if (backend !== checked.backend) checked = { backend, names: new Set() };
  if (!checked.names.has(name)) {
    if (!tf.getKernel(name, backend)) registerComposed(name, backend);
    checked.names.add(name);
  }
  return tf.engine().runKernel(name, present(inputs) as tf.NamedTensorMap, attributes as tf.NamedAttrMap) as tf.Tensor | tf.Tensor[];
}

/** Kernels known to be registered for the backend in use. */
let checked = { backend: '', names: new Set<string>() };

function registerComposed(name: string, backendName: string): void {
  const composition = compositions.get(name);
  if (!composition) throw new Error(`Expected a kernel that core/ops declares, found "${name}". Declared are ${kernelNames().join(', ')}.`);
  tf.registerKernel({
    kernelName: name,
    backendName,
    kernelFunc: ({ inputs, attrs }) => tf.tidy(() => composition(inputs as unknown as Inputs, attrs ?? {})),
  });
}

/**
 * The inputs that were given, as an array with names and no elements: tfjs saves a varying number of inputs for the backward pass
 * (`saveAllInputs`) only when they come in an array, and both it and the kernels read them by name.
 */
function present(inputs: Record<string, tf.Tensor | undefined>): Inputs {
  const given = [] as unknown as Inputs;
  for (const name in inputs) {
    const tensor = inputs[name];
    if (tensor !== undefined) given[name] = tensor;
  }
  return given;
}

type Gradient = (dy: tf.Tensor, saved: tf.Tensor[], attributes: any) => Record<string, () => tf.Tensor>;

/**
 * Registers a gradient as one closure for each input; tfjs calls only those on the way to the variables asked for. `dy` belongs to the
 * first output: the others are statistics that the backward pass needs, and nothing is differentiated through them.
 */
export function defineGradient(kernelName: string, saves: { inputs?: string[] | 'all'; outputs?: boolean[] }, gradient: Gradient): void {
  tf.registerGradient({
    kernelName,
    ...(saves.inputs === 'all' ? { saveAllInputs: true } : { inputsToSave: saves.inputs ?? [] }),
    outputsToSave: saves.outputs ?? [],
    gradFunc: (dy, saved, attrs) => gradient(Array.isArray(dy) ? dy[0] : dy, saved, attrs) as ReturnType<tf.GradFunc>,
  });
}

/** Results of shared gradient kernels that no closure has taken yet. */
const untaken = new Set<tf.Tensor>();

/**
 * Several gradients from one kernel call. The first closure runs it; the results of the others wait, kept out of tfjs' scopes, until
 * their closures take them. `valueAndGrads` disposes what nobody took.
 */
export function shared(names: readonly string[], compute: () => tf.Tensor[]): Record<string, () => tf.Tensor> {
  let results: tf.Tensor[] | undefined;
  const take = (index: number) => () => {
    results ??= compute().map((result) => {
      untaken.add(result);
      return tf.keep(result);
    });
    const result = results[index];
    untaken.delete(result);
    const taken = result.clone(); // belongs to the scope of this closure, as the kept tensor does not
    result.dispose();
    return taken;
  };
  return Object.fromEntries(names.map((name, index) => [name, take(index)]));
}

export function disposeUntaken(): void {
  tf.dispose([...untaken]);
  untaken.clear();
}

/** The sizes before the last axis multiplied: how many rows a tensor has. */
export const rowCount = (x: tf.Tensor): number => x.size / x.shape[x.shape.length - 1];

/** `x` as a matrix of its rows. */
export const asRows = (x: tf.Tensor): tf.Tensor2D => x.reshape([rowCount(x), x.shape[x.shape.length - 1]]);

export const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);

/** Throws, in one form for all operations, that `operation` was given tensors that do not fit. */
export function shapeError(operation: string, expected: string, found: Record<string, tf.Tensor | undefined>): never {
  const list = Object.entries(found).flatMap(([name, tensor]) => (tensor ? [`${name} [${tensor.shape.join(', ')}]`] : []));
  throw new Error(`${operation}: expected ${expected}, found ${list.join(', ')}.`);
}

/**
 * Runs a kernel that looks up `ids` in a table of `size`; an id outside, on backends that notice one, is an error that names it.
 * `allowed` is an id that may lie outside.
 */
export function runLookup(name: string, ids: tf.Tensor, size: number, allowed: number | undefined, inputs: Record<string, tf.Tensor>): tf.Tensor | tf.Tensor[] {
  try {
    return run(name, inputs);
  } catch (error) {
    const outside = ids.dataSync().find((id) => id !== allowed && !(id >= 0 && id < size));
    if (outside === undefined) throw error;
    throw new Error(`${name}: expected ids from 0 to ${size - 1}, found ${outside}. Was the text tokenized for another model?`);
  }
}
