import * as tf from '@tensorflow/tfjs';
import { disposeUntaken, recordOnly, type InputGradient } from './kernel.js';

type Tape = NonNullable<ReturnType<typeof tf.engine>['state']['activeTape']>;
type Node = Tape[number];

/**
 * A loss and its gradients with respect to `variables`, by their keys. The caller disposes both. A variable that the loss does not depend
 * on is an error, or has a gradient of zeros if `allowUnused`.
 *
 * tfjs records the operations; the way back is walked here and not by `tf.variableGrads`, so that what an operation saved and the gradients
 * of its results are freed as soon as it is behind, and not at the end: about half the memory, and buffers that are still in the cache.
 */
export function valueAndGrads(
  loss: () => tf.Scalar,
  variables: ReadonlyMap<string, tf.Tensor>,
  { allowUnused = false } = {},
): { value: tf.Scalar; grads: Map<string, tf.Tensor> } {
  if (variables.size === 0) throw new Error('valueAndGrads: expected at least one variable, found none.');
  const { state } = tf.engine();
  if (state.gradientDepth > 0) throw new Error('valueAndGrads: gradients of gradients are not supported. Take the inner ones outside of the loss.');
  const found = new Map<number, tf.Tensor>(); // gradients by tensor id, kept out of scopes
  const asked = new Set([...variables.values()].map(({ id }) => id));
  const stopRecording = recordOnly(asked);
  let value: tf.Scalar | undefined;
  try {
    state.activeTape = [];
    state.gradientDepth = 1;
    try {
      value = tf.tidy(loss);
    } finally {
      state.gradientDepth = 0;
      stopRecording();
    }
    if (value.size !== 1) throw new Error(`valueAndGrads: expected a loss of one number, found shape [${value.shape}]. Take its mean or sum.`);
    found.set(value.id, tf.keep(tf.onesLike(value)));
    walkBack(state.activeTape!, asked, value, found);
    return { value, grads: collect(variables, found, allowUnused) };
  } catch (error) {
    value?.dispose();
    throw error;
  } finally {
    for (const node of state.activeTape ?? []) release(node);
    state.activeTape = [];
    tf.dispose([...found.values()]);
    disposeUntaken();
  }
}

/** The gradients asked for, in the caller's scope. */
function collect(variables: ReadonlyMap<string, tf.Tensor>, found: Map<number, tf.Tensor>, allowUnused: boolean): Map<string, tf.Tensor> {
  const unused = [...variables].filter(([, { id }]) => !found.has(id)).map(([key]) => key);
  if (unused.length > 0 && !allowUnused) {
    throw new Error(
      `valueAndGrads: the loss does not depend on ${unused.length} of ${variables.size} variables, first "${unused[0]}". ` +
        'Leave them out, or pass allowUnused to have zeros.',
    );
  }
  return new Map([...variables].map(([key, variable]) => [key, found.get(variable.id)?.clone() ?? tf.zerosLike(variable)]));
}

/** Goes from the loss to the tensors asked for and leaves their gradients in `found`, which starts with the loss's. */
function walkBack(tape: Tape, asked: ReadonlySet<number>, loss: tf.Tensor, found: Map<number, tf.Tensor>): void {
  const between = nodesBetween(tape, asked, loss);
  for (const node of tape) if (!between.has(node)) release(node);
  for (const node of [...tape].reverse()) {
    const inputs = between.get(node);
    if (!inputs) continue;
    if (!node.gradient) throw new Error(`valueAndGrads: the kernel ${node.kernelName} has no gradient.`);
    const dys = node.outputs.map(({ id }) => found.get(id)!); // where an output has none, tfjs puts zeros for stock operations
    tf.tidy(() => {
      const closures = node.gradient!(dys) as Record<string, InputGradient>;
      for (const [name, input] of inputs) {
        if (!closures[name]) throw new Error(`valueAndGrads: the kernel ${node.kernelName} has no gradient for its input "${name}".`);
        add(found, input, closures[name], node);
      }
    });
    disposeUntaken();
    for (const { id } of node.outputs) {
      if (asked.has(id)) continue;
      found.get(id)?.dispose();
      found.delete(id);
    }
    release(node);
  }
}

/** Adds one more gradient of `input`. A sum takes the place of its terms. */
function add(found: Map<number, tf.Tensor>, input: tf.Tensor, gradientOf: InputGradient, { kernelName }: Node): void {
  const before = found.get(input.id);
  const gradient = gradientOf.adds ? gradientOf(before) : gradientOf();
  if (!tf.util.arraysEqual(gradient.shape, input.shape)) {
    throw new Error(`valueAndGrads: the gradient of ${kernelName} is [${gradient.shape}] for an input of shape [${input.shape}].`);
  }
  const sum = before && !gradientOf.adds ? before.add(gradient) : gradient;
  // One that is kept already, such as the gradient of an output handed on, has another owner.
  found.set(input.id, tf.keep(sum.kept ? sum.clone() : sum));
  before?.dispose();
}

/** What an operation saved for the way back. */
function release(node: Node): void {
  for (const tensor of node.saved ?? []) tensor.dispose();
  node.saved = [];
}

/** The operations on a way from the tensors asked for to the loss, each with those of its inputs that lie on one. */
function nodesBetween(tape: Tape, asked: ReadonlySet<number>, loss: tf.Tensor): Map<Node, [string, tf.Tensor][]> {
  const fromAsked = new Set(asked);
  const candidates = new Map<Node, [string, tf.Tensor][]>();
  for (const node of tape) {
    const inputs = Object.entries(node.inputs).filter(([, { id }]) => fromAsked.has(id));
    if (inputs.length === 0) continue;
    candidates.set(node, inputs);
    for (const { id } of node.outputs) fromAsked.add(id);
  }
  const toLoss = new Set([loss.id]);
  const between = new Map<Node, [string, tf.Tensor][]>();
  for (const [node, inputs] of [...candidates].reverse()) {
    if (!node.outputs.some(({ id }) => toLoss.has(id))) continue;
    between.set(node, inputs);
    for (const [, { id }] of inputs) toLoss.add(id);
  }
  return between;
}
