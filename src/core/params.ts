import * as tf from '@tensorflow/tfjs';
import { requireRoom } from './memory.js';
import { random } from './random.js';

/**
 * Parameter trees. A spec declares parameters under the names of the published checkpoints; `initialize` makes a tree of the same form
 * with variables as leaves; `flatten` gives the checkpoint's keys.
 */
export type Init =
  | { kind: 'normal'; std: number }
  | { kind: 'uniform'; bound: number } // PyTorch's Linear and Conv default: bound 1 / sqrt(fan in)
  | { kind: 'constant'; value: number };

export interface ParamSpec<R extends tf.Rank = tf.Rank> {
  readonly leaf: 'param';
  /** Shape in memory. Linear weights are [out, in], convolution kernels [height, width, in, out]. */
  readonly shape: number[];
  readonly init: Init;
  /** 'conv': the checkpoint holds [out, in, height, width]; files are converted where they are read and written. */
  readonly layout?: 'conv';
  readonly rank?: R;
}

export type Spec = ParamSpec | readonly Spec[] | { readonly [name: string]: Spec };

export type Params<S> = S extends ParamSpec<infer R>
  ? tf.Variable<R>
  : S extends readonly (infer E)[]
    ? Params<E>[]
    : { [K in keyof S]: Params<S[K]> };

export function param<R extends tf.Rank = tf.Rank>(shape: number[], init: Init, layout?: 'conv'): ParamSpec<R> {
  return layout ? { leaf: 'param', shape, init, layout } : { leaf: 'param', shape, init };
}

export const normal = (std: number): Init => ({ kind: 'normal', std });
export const uniform = (bound: number): Init => ({ kind: 'uniform', bound });
export const constant = (value: number): Init => ({ kind: 'constant', value });

const isParam = (node: Spec): node is ParamSpec => (node as ParamSpec).leaf === 'param';

/** The parameters of a spec by checkpoint key, in declaration order. */
export function specEntries(spec: Spec, prefix = ''): Map<string, ParamSpec> {
  const entries = new Map<string, ParamSpec>();
  const visit = (node: Spec, key: string) => {
    if (isParam(node)) entries.set(key, node);
    else for (const [name, child] of Object.entries(node)) visit(child as Spec, key ? `${key}.${name}` : name);
  };
  visit(spec, prefix);
  return entries;
}

/** Builds the tree of a spec, calling `make` for each leaf. */
export function mapSpec<S extends Spec>(spec: S, make: (key: string, leaf: ParamSpec) => tf.Variable, prefix = ''): Params<S> {
  const build = (node: Spec, key: string): unknown => {
    if (isParam(node)) return make(key, node);
    const child = (name: string | number, value: Spec) => build(value, key ? `${key}.${name}` : String(name));
    if (Array.isArray(node)) return node.map((value, i) => child(i, value));
    return Object.fromEntries(Object.entries(node).map(([name, value]) => [name, child(name, value as Spec)]));
  };
  return build(spec, prefix) as Params<S>;
}

/**
 * Makes the variables of a spec. Each parameter is seeded by its key, so a model with one more module starts the others where they were.
 * The caller disposes the tree with `tf.dispose`. Throws, before any is made, when they have no room.
 */
export function initialize<S extends Spec>(spec: S, seed: number, prefix = ''): Params<S> {
  requireRoomFor(spec);
  return mapSpec(spec, (key, leaf) => variable(initialValues(leaf, seed, key), leaf.shape), prefix);
}

/** Throws where the parameters of `spec` have no room in memory. */
export const requireRoomFor = (spec: Spec): void => requireRoom(4 * countParameters(spec), 'The parameters');

/** The seeded first values of one parameter. */
export function initialValues({ shape, init }: ParamSpec, seed: number, key: string): Float32Array {
  const count = shape.reduce((a, b) => a * b, 1);
  if (init.kind === 'constant') return new Float32Array(count).fill(init.value);
  const stream = random(seed, 'parameter', key);
  if (init.kind === 'normal') return stream.normals(count).map((x) => x * init.std);
  return Float32Array.from({ length: count }, () => (2 * stream.uniform() - 1) * init.bound);
}

export function variable(values: Float32Array, shape: number[]): tf.Variable {
  const value = tf.tensor(values, shape, 'float32');
  const made = tf.variable(value);
  value.dispose();
  return made;
}

/** The variables of a parameter tree by checkpoint key, in declaration order. */
export function flatten(params: unknown, prefix = ''): Map<string, tf.Variable> {
  const entries = new Map<string, tf.Variable>();
  const visit = (node: unknown, key: string) => {
    if (node instanceof tf.Variable) entries.set(key, node);
    else if (node && typeof node === 'object') for (const [name, child] of Object.entries(node)) visit(child, key ? `${key}.${name}` : name);
  };
  visit(params, prefix);
  return entries;
}

export const countParameters = (spec: Spec): number => {
  let total = 0;
  for (const { shape } of specEntries(spec).values()) total += shape.reduce((a, b) => a * b, 1);
  return total;
};

/** Whether `key` is `prefix` or lies below it: 'model.norm' covers 'model.norm.weight', not 'model.norms'. */
export const covers = (prefix: string, key: string): boolean => key === prefix || key.startsWith(`${prefix}.`);

/** The variables below any of `prefixes`. A prefix that covers no parameter is an error. */
export function select(params: unknown, prefixes: readonly string[]): Map<string, tf.Variable> {
  const all = flatten(params);
  for (const prefix of prefixes) {
    if (![...all.keys()].some((key) => covers(prefix, key))) {
      throw new Error(`No parameter lies below "${prefix}". The model has ${all.size}, first "${[...all.keys()][0]}".`);
    }
  }
  return new Map([...all].filter(([key]) => prefixes.some((prefix) => covers(prefix, key))));
}
