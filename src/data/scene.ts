import type { Rgb } from '../core/images.js';
import { distance, groundNames, grounds, inkNames, inks, type Ground, type Ink } from './colors.js';
import { applyEffect, effects, type Effect } from './effects.js';
import { artwork, concept, concepts, styles, type Cell, type Style } from './emoji.js';
import { drawSprite, sprite, type Sprite } from './sprites.js';
import type { ImageRef } from './types.js';

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

export type Place = Pick<SceneObject, 'x' | 'y' | 'size'>;

/** An object that shows `cell` at a place. */
export const place = ({ concept, style }: Cell, at: Place, ink?: Ink): SceneObject => ({ concept: concept.name, style, ...(ink ? { ink } : {}), ...at });

/** Grounds against which every object stands out. */
export function visibleGrounds(objects: readonly SceneObject[]): Ground[] {
  // A thin outline needs more contrast than a filled shape.
  const looks = objects.map((object): { color: Rgb; contrast: number } =>
    object.ink ? { color: inks[object.ink], contrast: 125 } : { color: spriteOf(object, object.size).mean, contrast: 85 },
  );
  return groundNames.filter((name) => looks.every(({ color, contrast }) => distance(color, grounds[name]) > contrast));
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
    const [x, y, size] = [object.x, object.y, object.size].map((value) => Math.round(value * scale));
    drawSprite(pixels, side, spriteOf(object, size), x, y, object.ink && inks[object.ink]);
  }
  return effect ? applyEffect(pixels, side, effect) : pixels;
}

/** `scene:KIND:GROUND[:EFFECT]/SET/ICON[#INK]@X,Y,SIZE/…`: the scene written out, so that a name alone gives the picture. */
export function sceneRef({ kind, ground, objects, effect }: Scene): ImageRef {
  const written = objects.map(({ concept: name, style, ink, x, y, size }) => {
    const icon = `${artwork[style]}/${concept(name).icons[style]}`;
    return `${icon}${ink ? `#${ink}` : ''}@${x},${y},${size}`;
  });
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
    concepts().flatMap((each) =>
      styles.filter((style) => each.icons[style]).map((style) => [`${artwork[style]}/${each.icons[style]}`, { concept: each, style }] as const),
    ),
  );
  return byIcon.get(`${set}/${icon}`);
}
