import * as tf from '@tensorflow/tfjs';

/** What a look inside the network sees. Tensors belong to the network: clone what should stay. */
export interface Observer {
  /** The output of the module whose parameters lie below `name`. */
  module?(name: string, output: tf.Tensor): void;
  /** Queries [images, positions, dim] and keys [images, tokens, dim] of an attention, before they are split into heads. */
  attention?(name: string, query: tf.Tensor3D, key: tf.Tensor3D, numHeads: number): void;
}

let current: { observer: Observer; names: Map<unknown, string> } | undefined;

/** Runs `body` and shows `observer` what the modules of `params` do meanwhile. For parity checks and for figures of attention. */
export function observe<T>(params: object, observer: Observer, body: () => T): T {
  const before = current;
  current = { observer, names: moduleNames(params) };
  try {
    return body();
  } finally {
    current = before;
  }
}

function moduleNames(params: object): Map<unknown, string> {
  const names = new Map<unknown, string>();
  const visit = (node: unknown, name: string) => {
    if (!node || typeof node !== 'object' || node instanceof tf.Tensor) return;
    names.set(node, name);
    for (const [key, child] of Object.entries(node)) visit(child, name ? `${name}.${key}` : key);
  };
  visit(params, '');
  return names;
}

/** Shows the output of the module that owns the parameters `p`, and returns it. */
export function shown<T extends tf.Tensor>(p: object, output: T): T {
  if (current) current.observer.module?.(nameOf(p), output);
  return output;
}

/** The same for an output that the network itself never makes, because an operation is fused with the next. */
export function shownApart(p: object, compute: () => tf.Tensor): void {
  if (current?.observer.module) current.observer.module(nameOf(p), tf.tidy(compute));
}

export function shownAttention(p: object, query: tf.Tensor3D, key: tf.Tensor3D, numHeads: number): void {
  current?.observer.attention?.(nameOf(p), query, key, numHeads);
}

const nameOf = (p: object) => current!.names.get(p) ?? '';
