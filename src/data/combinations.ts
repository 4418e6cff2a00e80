import { random } from '../core/random.js';
import type { SceneKind, SceneObject } from './scene.js';
import type { Axis, Split } from './types.js';

/** What a scene combines, such as `3/dog` or `red/key`. */
export function combinations(kind: SceneKind, objects: readonly SceneObject[]): string[] {
  const colored = objects.filter(({ ink }) => ink).map(({ ink, concept }) => `${ink}/${concept}`);
  if (kind === 'count') return [...colored, `${objects.length}/${objects[0].concept}`];
  if (kind === 'pair' || kind === 'colors') {
    // "a left of b" is "b right of a": both are the row a, b.
    const [a, b] = objects;
    const axis = Math.abs(a.x - b.x) > Math.abs(a.y - b.y) ? 'x' : 'y';
    const [first, second] = a[axis] < b[axis] ? [a, b] : [b, a];
    return [...colored, `${axis === 'x' ? 'row' : 'column'}/${first.concept}/${second.concept}`];
  }
  return colored;
}

/** One combination of five is never trained: half of these are for val, half for test. */
export function combinationSplit(combination: string): Split {
  const draw = random(0, 'combination', combination).uniform();
  return draw < 0.8 ? 'train' : draw < 0.9 ? 'val' : 'test';
}

/** Training has training's combinations only; a new composition has one of its own split and none of the other's. */
export function allows(split: Split, axis: Axis, combinations: string[]): boolean {
  if (axis === 'concept' && split !== 'train') return true;
  const splits = combinations.map(combinationSplit);
  if (axis !== 'composition' || split === 'train') return splits.every((each) => each === 'train');
  return (splits.length === 0 || splits.includes(split)) && splits.every((each) => each === split || each === 'train');
}
