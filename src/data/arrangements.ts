import type { Random } from '../core/random.js';
import { groundNames, inkNames } from './colors.js';
import { cells, concepts, type Cell, type Concept } from './emoji.js';
import { board, place, type Place, type SceneKind, type SceneObject } from './scene.js';
import type { Axis, Split } from './types.js';
import { isCountable } from './wording.js';

const shareOfCore = 0.8;

/** Draws concepts for one scene. */
export class Picker {
  /** How many copies a `count` scene must have, if that is given. */
  readonly count?: number;
  /** The cells that a scene must show, if they are given. */
  readonly given?: readonly Cell[];

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

  between(low: number, high: number): number {
    return low + this.stream.integer(high - low + 1);
  }
}

/** Hands out the given cells, in order. */
export class GivenCells extends Picker {
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
  if (!list) {
    const drawn = concepts().filter(({ icons, split, name }) => icons.outline && split === owner && !namesColor.test(name));
    outlineLists.set(owner, (list = drawn.map((concept) => ({ concept, style: 'outline' }))));
  }
  return list;
}

/** A blue outline of an orange book would make colour a trick question. */
const namesColor = new RegExp(`\\b(?:${[...groundNames, 'brown'].join('|')})\\b`);
const outlineLists = new Map<Split, Cell[]>();

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
  const places: [Place, Place] = isRow
    ? [{ x: near, y: a, size }, { x: far, y: b, size }]
    : [{ x: a, y: near, size }, { x: b, y: far, size }];
  return picker.stream.uniform() < 0.5 ? places : [places[1], places[0]];
}

/** Chooses and places the objects of a scene, kind by kind. */
export const arrange: Record<SceneKind, (picker: Picker) => SceneObject[]> = {
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
    if (picker.shareOfOutlines === 0) return arrange.pair(picker);
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
