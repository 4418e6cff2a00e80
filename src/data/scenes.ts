import { random, type Random } from '../core/random.js';
import { arrange, GivenCells, Picker } from './arrangements.js';
import type { Ground } from './colors.js';
import { allows, combinations } from './combinations.js';
import type { Cell, Concept } from './emoji.js';
import { visibleGrounds, type Scene, type SceneKind, type SceneObject } from './scene.js';
import type { Axis, Split } from './types.js';

export * from './scene.js';

export interface SceneOptions {
  split: Split;
  /** What is new in val and test; 'cell' by default. */
  axis?: Axis;
  /** How often each kind is drawn, in proportion. */
  kinds?: Partial<Record<SceneKind, number>>;
}

/** Six scenes of ten show a single object. */
export const defaultKinds: Partial<Record<SceneKind, number>> = { single: 60, count: 11, pair: 10, colors: 8, sizes: 5, quadrant: 6 };

/** Scene `index` of the endless list named by `seed` and `options`. */
export function sceneAt(seed: number, index: number, options: SceneOptions): Scene {
  const { split, axis = 'cell', kinds = axis === 'composition' ? compositionKinds : defaultKinds } = options;
  const stream = random(seed, 'scene', split, axis, index);
  return drawScene(stream, weighted(stream, kinds), { split, axis });
}

/** Kinds that combine a concept with something: only these can be new in composition. */
const compositionKinds: Partial<Record<SceneKind, number>> = { single: 25, count: 25, pair: 25, colors: 25 };

/** A scene of one kind. `wanted` narrows the concepts, `only` says whether a single object is an outline. */
export function drawScene(
  stream: Random,
  kind: SceneKind,
  { split, axis = 'cell' }: SceneOptions,
  wanted?: (concept: Concept) => boolean,
  only?: 'outline' | 'painted',
): Scene {
  for (let attempt = 0; attempt < 200; attempt++) {
    const objects = arrange[kind](new Picker(stream, split, axis, wanted, only));
    if (!allows(split, axis, combinations(kind, objects))) continue;
    const ground = chooseGround(stream, objects);
    if (ground) return { kind, ground, objects };
  }
  throw new Error(`No ${kind} scene of split "${split}", axis "${axis}" was found in 200 draws. Ask for a wider choice of concepts.`);
}

/**
 * A scene of one kind with the given cells, the first as its subject, on `ground` where it stands out. Undefined when the split does not
 * allow what it would combine.
 */
export function sceneWith(
  stream: Random,
  kind: SceneKind,
  given: readonly Cell[],
  { split, axis = 'cell' }: SceneOptions,
  { ground: wish, count }: { ground?: Ground; count?: number } = {},
): Scene | undefined {
  for (let attempt = 0; attempt < 20; attempt++) {
    const objects = arrange[kind](new GivenCells(stream, split, axis, given, count));
    if (!allows(split, axis, combinations(kind, objects))) continue;
    const ground = wish && visibleGrounds(objects).includes(wish) ? wish : chooseGround(stream, objects);
    if (ground) return { kind, ground, objects };
  }
  return undefined;
}

/** A ground that stands out against every object, or nothing when none does. */
export function chooseGround(stream: Random, objects: readonly SceneObject[]): Ground | undefined {
  const visible = visibleGrounds(objects);
  return visible.length > 0 ? stream.choice(visible) : undefined;
}

/** Picks a key with probability in proportion to its value. */
export function weighted<K extends string>(stream: Random, weights: Partial<Record<K, number>>): K {
  const entries = Object.entries(weights) as [K, number][];
  let draw = stream.uniform() * entries.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [key, weight] of entries) if ((draw -= weight) < 0) return key;
  return entries.at(-1)![0];
}
