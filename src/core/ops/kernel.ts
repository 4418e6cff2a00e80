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

interface Recorder {
  /** Ids of the tensors that depend on what gradients are asked for. */
  reached: Set<number>;
  /** How much of the tape has been looked at. */
  seen: number;
}
let recorder: Recorder | undefined;

/**
 * Until the returned function is called, only operations that depend on `asked` are recorded, and only those save anything: a frozen encoder
 * in front of what trains costs no more than without gradients.
 */
export function recordOnly(asked: ReadonlySet<number>): () => void {
  const before = recorder;
  recorder = { reached: new Set(asked), seen: 0 };
  return () => {
    recorder = before;
  };
}

/** Whether any input depends on what is asked for; stock operations recorded meanwhile are followed first. */
function depends({ reached, seen }: Recorder, tape: Tape, inputs: Inputs): boolean {
  for (; seen < tape.length; seen++) {
    const node = tape[seen];
    for (const name in node.inputs) {
      if (!reached.has(node.inputs[name].id)) continue;
      for (const { id } of node.outputs) reached.add(id);
      break;
    }
  }
  recorder!.seen = seen;
  for (const name in inputs) if (reached.has(inputs[name].id)) return true;
  return false;
}

type Tape = NonNullable<ReturnType<typeof tf.engine>['state']['activeTape']>;

/**
 * Runs a declared kernel on the current backend, by its composition where the backend has none. Missing optional inputs are left out.
 * It is recorded for gradients here and not by tfjs, whose way of saving tensors costs as much as a small kernel.
 */
export function run(name: string, inputs: Record<string, tf.Tensor | undefined>, attributes: Attributes = {}): tf.Tensor | tf.Tensor[] {
  const engine = tf.engine();
  const { state, backend } = engine;
  const given = present(inputs);
  const gradient = gradients.get(name);
  const tape = state.gradientDepth > 0 && state.kernelDepth === 0 && gradient ? state.activeTape! : undefined;
  const isRecorded = tape !== undefined && (!recorder || depends(recorder, tape, given));
  const profile = state.profiling ? startProfile(name, given) : undefined;

  const kernel = kernelOf(name);
  let outputs: tf.Tensor[];
  let isList: boolean;
  running = name;
  const asked = savesStatistics;
  savesStatistics = isRecorded || state.kernelDepth > 0;
  state.kernelDepth++; // what a composition runs is not recorded
  try {
    const made = kernel({ inputs: given as unknown as tf.NamedTensorInfoMap, attrs: attributes as unknown as tf.NamedAttrMap, backend });
    isList = Array.isArray(made);
    outputs = (isList ? (made as tf.TensorInfo[]) : [made as tf.TensorInfo]).map((info) => (info instanceof tf.Tensor ? info : engine.makeTensorFromTensorInfo(info)));
    if (isRecorded) {
      const saved = gradient!.saves(given, outputs).map(keepAlias);
      tape.push({
        id: state.nextTapeNodeId++,
        kernelName: name,
        inputs: given as tf.NamedTensorMap,
        outputs,
        saved,
        gradient: (dys: tf.Tensor[]) => gradient!.compute(dys, saved, attributes) as ReturnType<NonNullable<Tape[number]['gradient']>>,
      });
    }
  } finally {
    state.kernelDepth--;
    savesStatistics = asked;
    running = undefined;
  }
  profile?.(outputs);
  return isList ? outputs : outputs[0];
}

/**
 * Whether a kernel that is running should give the statistics beside its result that a backward pass needs. Where nothing is recorded the result alone
 * will do.
 */
export const needsStatistics = (): boolean => savesStatistics;
let savesStatistics = true;

/** The kernel that is running now, for those who watch tensors being made. */
export const runningKernel = (): string | undefined => running;
let running: string | undefined;

/** Another handle to the same values that no scope disposes. */
function keepAlias(tensor: tf.Tensor): tf.Tensor {
  const engine = tf.engine();
  const alias = engine.makeTensorFromTensorInfo({ dataId: tensor.dataId, shape: tensor.shape, dtype: tensor.dtype });
  engine.backend.incRef(tensor.dataId);
  return tf.keep(alias);
}

/** Adds the kernel to what `tf.profile` reports. */
function startProfile(name: string, inputs: Inputs): (outputs: readonly tf.Tensor[]) => void {
  const { state } = tf.engine();
  const { numBytes, numTensors } = state;
  return (outputs) => {
    state.activeProfile.kernels.push({
      name,
      bytesAdded: state.numBytes - numBytes,
      totalBytesSnapshot: state.numBytes,
      tensorsAdded: state.numTensors - numTensors,
      totalTensorsSnapshot: state.numTensors,
      inputShapes: Object.values(inputs).map(({ shape }) => shape),
      outputShapes: outputs.map(({ shape }) => shape),
      kernelTimeMs: 0,
      extraInfo: '',
    });
  };
}

/** The kernels found for the backend in use. */
let found = { backend: '', kernels: new Map<string, tf.KernelFunc>() };

function kernelOf(name: string): tf.KernelFunc {
  const backend = tf.getBackend();
  if (backend !== found.backend) found = { backend, kernels: new Map() };
  let kernel = found.kernels.get(name);
  if (!kernel) {
    if (!tf.getKernel(name, backend)) tf.registerKernel({ kernelName: name, backendName: backend, kernelFunc: composed(name) });
    kernel = tf.getKernel(name, backend).kernelFunc;
    found.kernels.set(name, kernel);
  }
  return kernel;
}

/** The declared composition of a kernel, as a kernel of any backend. */
export function composed(name: string): tf.KernelFunc {
  const composition = compositions.get(name);
  if (!composition) throw new Error(`Expected a kernel that core/ops declares, found "${name}". Declared are ${kernelNames().join(', ')}.`);
  return ({ inputs, attrs }) => tf.tidy(() => composition(inputs as unknown as Inputs, attrs ?? {}));
}

function present(inputs: Record<string, tf.Tensor | undefined>): Inputs {
  const given: Inputs = {};
  for (const name in inputs) {
    const tensor = inputs[name];
    if (tensor !== undefined) given[name] = tensor;
  }
  return given;
}

/**
 * The gradient of one input. One that `adds` takes the sum of the input's gradients so far and returns the sum with its own, in one kernel
 * instead of two.
 */
export interface InputGradient {
  (soFar?: tf.Tensor): tf.Tensor;
  adds?: boolean;
}

/** Marks a gradient as one that takes the sum so far. */
export const adding = (gradient: (soFar: tf.Tensor | undefined) => tf.Tensor): InputGradient => Object.assign((soFar?: tf.Tensor) => gradient(soFar), { adds: true });

interface GradientDefinition {
  /** What the backward pass will need. */
  saves(inputs: Inputs, outputs: readonly tf.Tensor[]): tf.Tensor[];
  compute(dys: readonly tf.Tensor[], saved: readonly tf.Tensor[], attributes: Attributes): Record<string, InputGradient>;
}
const gradients = new Map<string, GradientDefinition>();

/** Registers a gradient for an operation with several results that are all differentiated. `dys` lacks those that the loss does not depend on. */
export function defineGradients(
  kernelName: string,
  saves: GradientDefinition['saves'],
  gradient: (dys: readonly (tf.Tensor | undefined)[], saved: any, attributes: any) => Record<string, InputGradient>,
): void {
  gradients.set(kernelName, { saves, compute: gradient });
}

/**
 * Registers a gradient as one closure for each input; only those on the way to the variables asked for are called. `dy` belongs to the
 * first output: the others are statistics that the backward pass needs, and nothing is differentiated through them.
 */
export function defineGradient(
  kernelName: string,
  saves: { inputs?: string[] | 'all'; outputs?: boolean[] },
  gradient: (dy: tf.Tensor, saved: tf.Tensor[], attributes: any) => Record<string, InputGradient>,
): void {
  const { inputs: names = [], outputs: flags = [] } = saves;
  gradients.set(kernelName, {
    saves: (inputs, outputs) => [...(names === 'all' ? Object.values(inputs) : names.map((name) => inputs[name])), ...outputs.filter((_, i) => flags[i])],
    compute: (dys, saved, attributes) => gradient(dys[0], saved as tf.Tensor[], attributes),
  });
}

/** Results of shared gradient kernels that no closure has taken yet. */
const untaken = new Set<tf.Tensor>();

/**
 * Several gradients from one kernel call. The first closure runs it; the results of the others wait, kept out of tfjs' scopes, until
 * their closures take them. `disposeUntaken` disposes what nobody took.
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
  for (const tensor of untaken) tensor.dispose();
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
