import { size } from '../dream-backend.js';

/** Steps, in elements, with which a dense tensor of `shape` is read as the broadcast `target`: 0 along axes it lacks or has once. */
export function strides(shape: readonly number[], target: readonly number[] = shape): number[] {
  const missing = target.length - shape.length;
  const steps = target.map(() => 0);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1) steps[missing + axis] = step;
    step *= shape[axis];
  }
  return steps;
}

export interface StridedView {
  sizes: number[];
  x: number[];
  y: number[];
}

/** The same walk over two tensors with as few axes as possible (at least one): axes of size 1 go, neighbours that step alike join. */
export function collapse(sizes: readonly number[], x: readonly number[], y: readonly number[]): StridedView {
  const view: StridedView = { sizes: [], x: [], y: [] };
  sizes.forEach((count, axis) => {
    if (count === 1) return;
    const last = view.sizes.length - 1;
    if (last >= 0 && view.x[last] === x[axis] * count && view.y[last] === y[axis] * count) {
      view.sizes[last] *= count;
      view.x[last] = x[axis];
      view.y[last] = y[axis];
    } else {
      view.sizes.push(count);
      view.x.push(x[axis]);
      view.y.push(y[axis]);
    }
  });
  return view.sizes.length > 0 ? view : { sizes: [size(sizes)], x: [1], y: [1] };
}
