import type * as tf from '@tensorflow/tfjs';

/**
 * Checks tensors against shapes written as text and returns the sizes by name: `shapes({ x: [x, 'batch tokens 64'] })` gives `{ batch, tokens }`.
 * A name must have the same size wherever it occurs; a number must be that number; `_` is any size.
 */
export function shapes<const S extends Record<string, readonly [tf.Tensor, string]>>(tensors: S): Record<Names<S[keyof S][1]>, number> {
  const sizes: Record<string, number> = {};
  for (const [label, [tensor, pattern]] of Object.entries(tensors)) {
    const axes = pattern.split(' ').filter(Boolean);
    const complain = (why: string) => {
      throw new Error(`${label}: expected shape [${axes.join(', ')}], found [${tensor.shape.join(', ')}]: ${why}.`);
    };
    if (axes.length !== tensor.shape.length) complain(`${tensor.shape.length} axes instead of ${axes.length}`);
    axes.forEach((axis, i) => {
      const size = tensor.shape[i];
      const expected = /^\d+$/.test(axis) ? Number(axis) : axis === '_' ? size : (sizes[axis] ??= size);
      if (size !== expected) complain(`${axis} is ${size} here and ${expected} elsewhere`);
    });
  }
  return sizes as Record<Names<S[keyof S][1]>, number>;
}

type Names<P extends string> = P extends `${infer Axis} ${infer Rest}` ? Names<Axis> | Names<Rest> : P extends `${number}` | '_' | '' ? never : P;
