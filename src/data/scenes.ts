import { random, type Random } from '../core/random.js';
import { distance, groundNames, grounds, inkNames, inks, type Ground, type Ink, type Rgb } from './colors.js';
import { artwork, cells, concept, concepts, styles, type Cell, type Concept, type Style } from './emoji.js';
import { applyEffect, effects, type Effect } from './effects.js';
import { drawSprite, sprite, type Sprite } from './sprites.js';
import type { Axis, ImageRef, Split } from './types.js';
import { isCountable } from './wording.js';

/** Scenes are laid out on a board of 32 × 32 units and drawn at any multiple of it. */
export const board = 32;

export interface SceneObject {
  concept: string;
  style: Style;
  /** Colour of an outline. Painted styles have their own colours. */
  ink?: Ink;
  /** Top left corner and side, in board units. */
  x: number;
  y: number;
  size: number;
}

/**
 * - `single`: one object;  `quadrant`: one small object in a corner;  `count`: equal objects on a 3 × 3 grid
 * - `pair`: two objects side by side or one above the other;  `colors`: the same with two outlines in different colours
 * - `sizes`: a big and a small object;  `inside`: a small object drawn over a big one
 * - `row`: up to four objects in a line, read from the left;  `chart`: up to three columns of one to four equal objects each
 */
export const sceneKinds = ['single', 'count', 'pair', 'colors', 'sizes', 'quadrant', 'inside', 'row', 'chart'] as const;
export type SceneKind = (typeof sceneKinds)[number];

/** A picture and all that is known about it. */
export interface Scene {
  kind: SceneKind;
  ground: Ground;
  objects: SceneObject[];
  effect?: Effect;
}

export interface SceneOptions {
  split: Split;
  /** What is new in val and test; 'cell' by default. */
  axis?: Axis;
  /** How often each kind is drawn, in proportion. */
  kinds?: Partial<Record<SceneKind, number>>;
}

/** Six scenes of ten show a single object. */
export const defaultKinds: Partial<Record<SceneKind, number>> = { single: 60, count: 11, pair: 10, colors: 8, sizes: 5, quadrant: 6 };

const shareOfCore = 0.8;

/** Scene `index` of the endless list named by `seed` and `options`. */
export function sceneAt(seed: number, index: number, options: SceneOptions): Scene {
  const { split, axis = 'cell', kinds = axis === 'composition' ? compositionKinds : defaultKinds } = options;
  const stream = random(seed, 'scene', split, axis, index);
  return drawScene(stream, weighted(stream, kinds), { split, axis });
}

/** Kinds that combine a concept with something: only these can be new in composition. */
const compositionKinds: Partial<Record<SceneKind, number>> = { single: 25, count: 25, pair: 25, colors: 25 };

/** A scene of one kind. `wanted` narrows the concepts, `only` says whether a single object is an outline. */
export function drawScene(stream: Random, kind: SceneKind, { split, axis = 'cell' }: SceneOptions, wanted?: (concept: Concept) => boolean, only?: 'outline' | 'painted'): Scene {
  for (let attempt = 0; attempt < 200; attempt++) {
    const objects = draw[kind](new Picker(stream, split, axis, wanted, only));
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
export function sceneWith(stream: Random, kind: SceneKind, given: readonly Cell[], { split, axis = 'cell' }: SceneOptions, { ground: wish, count }: { ground?: Ground; count?: number } = {}): Scene | undefined {
  for (let attempt = 0; attempt < 20; attempt++) {
    const objects = draw[kind](new GivenCells(stream, split, axis, given, count));
    if (!allows(split, axis, combinations(kind, objects))) continue;
    const ground = wish && visibleGrounds(objects).includes(wish) ? wish : chooseGround(stream, objects);
    if (ground) return { kind, ground, objects };
  }
  return undefined;
}

/** What a scene combines, such as `3/dog` or `red/key`. */
export function combinations(kind: SceneKind, objects: readonly SceneObject[]): string[] {
  const colored = objects.filter(({ ink }) => ink).map(({ ink, concept }) => `${ink}/${concept}`);
  if (kind === 'count') return [...colored, `${objects.length}/${objects[0].concept}`];
  if (kind === 'pair' || kind === 'colors') {
    const [a, b] = objects;
    const [first, second] = a.x < b.x || a.y < b.y ? [a, b] : [b, a];
    return [...colored, `${Math.abs(a.x - b.x) > Math.abs(a.y - b.y) ? 'row' : 'column'}/${first.concept}/${second.concept}`];
  }
  return colored;
}

/** One combination of five is never trained: half of these are for val, half for test. */
export function combinationSplit(combination: string): Split {
  const draw = random(0, 'combination', combination).uniform();
  return draw < 0.8 ? 'train' : draw < 0.9 ? 'val' : 'test';
}

/** Training has training's combinations only; a new composition has one of its own split and none of the other's. */
function allows(split: Split, axis: Axis, combinations: string[]): boolean {
  if (axis === 'concept' && split !== 'train') return true;
  const splits = combinations.map(combinationSplit);
  if (axis !== 'composition' || split === 'train') return splits.every((each) => each === 'train');
  return (splits.length === 0 || splits.includes(split)) && splits.every((each) => each === split || each === 'train');
}

/** Draws concepts for one scene. */
class Picker {
  constructor(
    readonly stream: Random,
    readonly split: Split,
    readonly axis: Axis,
    private readonly wanted: (concept: Concept) => boolean = () => true,
    private readonly only?: 'outline' | 'painted',
  ) {}

  /** How many single objects are outlines: none where the painted cell must be new, all where the colour must be. */
  get shareOfOutlines(): number {
    if (this.only) return this.only === 'outline' ? 1 : 0;
    if (this.split === 'train' || this.axis === 'concept') return 0.15;
    return this.axis === 'cell' ? 0 : 1;
  }

  painted(filter: (cell: Cell) => boolean = () => true): Cell {
    return this.pick(cells(this.split, this.axis), filter);
  }

  outlined(filter: (concept: Concept) => boolean = () => true): Cell {
    return this.pick(outlines(this.split, this.axis), ({ concept }) => filter(concept));
  }

  private pick(list: readonly Cell[], filter: (cell: Cell) => boolean): Cell {
    const onlyCore = this.stream.uniform() < shareOfCore;
    for (let attempt = 0; attempt < 100; attempt++) {
      const cell = this.stream.choice(list);
      if ((!onlyCore || cell.concept.isCore) && this.wanted(cell.concept) && filter(cell)) return cell;
    }
    // Rare wishes: look through the whole list.
    return this.stream.choice(list.filter((cell) => this.wanted(cell.concept) && filter(cell)));
  }

  /** How many copies a `count` scene must have, if that is given. */
  readonly count?: number;
  /** The cells that a scene must show, if they are given. */
  readonly given?: readonly Cell[];

  between(low: number, high: number): number {
    return low + this.stream.integer(high - low + 1);
  }
}

/** Hands out the given cells, in order. */
class GivenCells extends Picker {
  private next = 0;

  constructor(stream: Random, split: Split, axis: Axis, override readonly given: readonly Cell[], override readonly count?: number) {
    super(stream, split, axis);
  }

  override get shareOfOutlines(): number {
    return this.given[0].style === 'outline' ? 1 : 0;
  }

  override painted(): Cell {
    return this.given[this.next++ % this.given.length];
  }

  override outlined(): Cell {
    return this.painted();
  }
}

/** Outlines that a split may use. They have no held-out style: known concepts are in training in some colour. */
function outlines(split: Split, axis: Axis): readonly Cell[] {
  const owner = axis === 'concept' ? split : 'train';
  let list = outlineLists.get(owner);
  if (!list) outlineLists.set(owner, (list = concepts().filter((each) => each.icons.outline && each.split === owner && !namesColor.test(each.name)).map((each) => ({ concept: each, style: 'outline' as const }))));
  return list;
}
/** A blue outline of an orange book would make colour a trick question. */
const namesColor = new RegExp(`\\b(?:${[...groundNames, 'brown'].join('|')})\\b`);
const outlineLists = new Map<Split, Cell[]>();

type Place = Pick<SceneObject, 'x' | 'y' | 'size'>;
const place = ({ concept, style }: Cell, at: Place, ink?: Ink): SceneObject => ({ concept: concept.name, style, ...(ink ? { ink } : {}), ...at });

/** A big or middle-sized square, near the middle of the board. */
function middle(picker: Picker): Place {
  const size = picker.stream.choice([22, 26, 30]);
  const room = board - size;
  return { x: picker.between(0, room), y: picker.between(0, room), size };
}

/** Two squares of 15 units, in a row or in a column. */
function twoPlaces(picker: Picker): [Place, Place] {
  const isRow = picker.stream.uniform() < 0.5;
  const size = 15;
  const [near, far] = [picker.between(0, 1), picker.between(16, 17)];
  const [a, b] = [picker.between(6, 11), picker.between(6, 11)];
  const places: [Place, Place] = isRow ? [{ x: near, y: a, size }, { x: far, y: b, size }] : [{ x: a, y: near, size }, { x: b, y: far, size }];
  return picker.stream.uniform() < 0.5 ? places : [places[1], places[0]];
}

const draw: Record<SceneKind, (picker: Picker) => SceneObject[]> = {
  single(picker) {
    if (picker.stream.uniform() < picker.shareOfOutlines) return [place(picker.outlined(), middle(picker), picker.stream.choice(inkNames))];
    return [place(picker.painted(), middle(picker))];
  },
  quadrant(picker) {
    const [x, y] = [picker.stream.choice([1, 16]), picker.stream.choice([1, 16])];
    return [place(picker.painted(), { x: x + picker.between(0, 1), y: y + picker.between(0, 1), size: 14 })];
  },
  count(picker) {
    const cell = picker.painted(({ concept }) => concept.isCore && isCountable(concept.name));
    const spots = picker.stream.shuffle([0, 1, 2, 3, 4, 5, 6, 7, 8]).slice(0, picker.count ?? picker.between(2, 5)).sort((a, b) => a - b);
    return spots.map((spot) => place(cell, { x: 1 + (spot % 3) * 10, y: 1 + Math.floor(spot / 3) * 10, size: 10 }));
  },
  pair(picker) {
    const [a, b] = twoPlaces(picker);
    const first = picker.painted();
    const second = picker.painted(({ concept }) => concept.component !== first.concept.component);
    return [place(first, a), place(second, b)];
  },
  colors(picker) {
    if (picker.shareOfOutlines === 0) return draw.pair(picker);
    const [a, b] = twoPlaces(picker);
    const first = picker.outlined();
    const second = picker.outlined(({ component }) => component !== first.concept.component);
    const [ink, otherInk] = picker.stream.shuffle(inkNames);
    return [place(first, a, ink), place(second, b, otherInk)];
  },
  sizes(picker) {
    const first = picker.painted();
    const second = picker.painted(({ concept }) => concept.component !== first.concept.component);
    const flip = picker.stream.uniform() < 0.5;
    const [y, otherY] = [picker.between(0, 11), picker.between(2, 20)];
    return [place(first, { x: flip ? 11 : 1, y, size: 20 }), place(second, { x: flip ? 1 : 22, y: otherY, size: 9 })];
  },
  inside(picker) {
    const first = picker.painted();
    const second = picker.painted(({ concept }) => concept.component !== first.concept.component);
    return [place(first, { x: 10, y: 10, size: 12 }), place(second, { x: 1, y: 1, size: 30 })];
  },
  row(picker) {
    return (picker.given ?? alternating(picker)).map((cell, i) => place(cell, { x: i * 8, y: 12, size: 8 }));
  },
  chart(picker) {
    const given = picker.given ?? alternating(picker);
    const columns = [...new Set(given)].map((cell) => given.filter((each) => each === cell));
    return columns.flatMap((column, i) => column.map((cell, j) => place(cell, { x: 2 + i * 10, y: 24 - j * 8, size: 8 })));
  },
};

function alternating(picker: Picker): Cell[] {
  const first = picker.painted();
  const second = picker.painted(({ concept }) => concept.component !== first.concept.component);
  return [first, second, first, second];
}

/** A ground that stands out against every object, or nothing when none does. */
export function chooseGround(stream: Random, objects: readonly SceneObject[]): Ground | undefined {
  const visible = visibleGrounds(objects);
  return visible.length > 0 ? stream.choice(visible) : undefined;
}

export function visibleGrounds(objects: readonly SceneObject[]): Ground[] {
  // A thin outline needs more contrast than a filled shape.
  const parts = objects.map((object) => (object.ink ? { mean: inks[object.ink] as Rgb, contrast: 125 } : { mean: spriteOf(object, object.size).mean as Rgb, contrast: 85 }));
  return groundNames.filter((name) => parts.every(({ mean, contrast }) => distance(mean, grounds[name]) > contrast));
}

function spriteOf({ concept: name, style }: SceneObject, size: number): Sprite {
  const icon = concept(name).icons[style];
  if (!icon) throw new Error(`"${name}" is not drawn in style "${style}".`);
  return sprite(artwork[style], icon, size);
}

/** Draws a scene. Returns RGB, side · side · 3; `side` is a multiple of 32 by preference. */
export function renderScene({ kind, ground, objects, effect }: Scene, side = board): Uint8Array {
  const pixels = new Uint8Array(side * side * 3);
  const [red, green, blue] = grounds[ground];
  for (let i = 0; i < pixels.length; i += 3) {
    pixels[i] = red;
    pixels[i + 1] = green;
    pixels[i + 2] = blue;
  }
  const scale = side / board;
  // The first object is the subject; in an `inside` scene it lies on top.
  const order = kind === 'inside' ? [...objects].reverse() : objects;
  for (const object of order) {
    drawSprite(pixels, side, spriteOf(object, Math.round(object.size * scale)), Math.round(object.x * scale), Math.round(object.y * scale), object.ink && inks[object.ink]);
  }
  return effect ? applyEffect(pixels, side, effect) : pixels;
}

/** `scene:KIND:GROUND[:EFFECT]/SET/ICON[#INK]@X,Y,SIZE/…`: the scene written out, so that a name alone gives the picture. */
export function sceneRef({ kind, ground, objects, effect }: Scene): ImageRef {
  const written = objects.map(({ concept: name, style, ink, x, y, size }) => `${artwork[style]}/${concept(name).icons[style]}${ink ? `#${ink}` : ''}@${x},${y},${size}`);
  return `scene:${kind}:${ground}${effect ? `:${effect}` : ''}/${written.join('/')}`;
}

const objectPattern = /^([^/]+)\/([^/#@]+)(?:#([a-z]+))?@(-?\d+),(-?\d+),(\d+)$/;

/** Reads what `sceneRef` wrote. An error names the part that is not understood. */
export function parseSceneRef(ref: ImageRef): Scene {
  const complain = (part: string, expected: string): never => {
    throw new Error(`Scene "${ref}": expected ${expected}, found "${part}".`);
  };
  const [head, ...parts] = ref.split('/');
  const [scheme, kind, ground, effect] = head.split(':');
  if (scheme !== 'scene') complain(scheme, 'a name that begins with "scene:"');
  if (!sceneKinds.includes(kind as SceneKind)) complain(kind, `a kind (${sceneKinds.join(', ')})`);
  if (!(ground in grounds)) complain(ground, `a ground (${groundNames.join(', ')})`);
  if (effect !== undefined && !effects.includes(effect as Effect)) complain(effect, `an effect (${effects.join(', ')})`);
  if (parts.length === 0 || parts.length % 2 === 1) complain(parts.join('/'), 'objects as SET/ICON@X,Y,SIZE');
  const objects: SceneObject[] = [];
  for (let i = 0; i < parts.length; i += 2) {
    const text = `${parts[i]}/${parts[i + 1]}`;
    const [, set, icon, ink, x, y, size] = objectPattern.exec(text) ?? complain(text, 'an object as SET/ICON@X,Y,SIZE');
    const cell = cellOfIcon(set, icon) ?? complain(`${set}/${icon}`, 'an icon of the emoji world');
    if (ink && !(ink in inks)) complain(ink, `a colour (${inkNames.join(', ')})`);
    objects.push(place(cell, { x: Number(x), y: Number(y), size: Number(size) }, ink as Ink | undefined));
  }
  return { kind: kind as SceneKind, ground: ground as Ground, objects, ...(effect ? { effect: effect as Effect } : {}) };
}

let byIcon: Map<string, Cell> | undefined;

/** The cell that an icon shows, if the emoji world has it. */
export function cellOfIcon(set: string, icon: string): Cell | undefined {
  byIcon ??= new Map(
    concepts().flatMap((each) => styles.filter((style) => each.icons[style]).map((style) => [`${artwork[style]}/${each.icons[style]}`, { concept: each, style }] as const)),
  );
  return byIcon.get(`${set}/${icon}`);
}

/** Picks a key with probability in proportion to its value. */
export function weighted<K extends string>(stream: Random, weights: Partial<Record<K, number>>): K {
  const entries = Object.entries(weights) as [K, number][];
  let draw = stream.uniform() * entries.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [key, weight] of entries) if ((draw -= weight) < 0) return key;
  return entries.at(-1)![0];
}
