import type { Rgb } from '../core/images.js';
import { createRequire } from 'node:module';
import { Resvg } from '@resvg/resvg-js';

const require = createRequire(import.meta.url);

/** One artwork set of Iconify: a file that holds every icon as the body of an SVG. */
export interface IconSet {
  width?: number;
  height?: number;
  icons: Record<string, Icon>;
  aliases?: Record<string, { parent: string }>;
}

interface Icon {
  body: string;
  left?: number;
  top?: number;
  width?: number;
  height?: number;
  hidden?: boolean;
}

/**
 * Icons that make resvg 2.6.2 abort the process (a Rust panic, which JavaScript cannot catch), by package and version.
 * A test rasterises every icon in a child process and compares.
 */
export const unsafeIcons: Record<string, readonly string[]> = {
  '@iconify-json/noto@1.2.9': ['package', 'rainbow-flag'],
  '@iconify-json/noto-v1@1.2.5': [
    'ambulance', 'bullet-train', 'cocktail-glass', 'hot-beverage', 'lady-beetle', 'man-lifting-weights', 'person-lifting-weights',
    'woman-juggling-dark-skin-tone',
  ],
};

const sets = new Map<string, IconSet>();

/** The set named `twemoji`, `noto`, … with its unsafe and hidden icons left out. Read once. */
export function iconSet(name: string): IconSet {
  let set = sets.get(name);
  if (!set) {
    set = require(`@iconify-json/${name}/icons.json`) as IconSet;
    const { version } = require(`@iconify-json/${name}/package.json`) as { version: string };
    for (const icon of unsafeIcons[`@iconify-json/${name}@${version}`] ?? []) delete set.icons[icon];
    for (const [icon, { hidden }] of Object.entries(set.icons)) if (hidden) delete set.icons[icon];
    sets.set(name, set);
  }
  return set;
}

/** A square picture with transparency. */
export interface Sprite {
  size: number;
  /** Premultiplied RGBA, size · size · 4: drawing is source + (1 - alpha) · destination. */
  rgba: Uint8Array;
  /** Mean colour of the visible part. */
  mean: [number, number, number];
  /** Share of the square that is covered, in [0, 1]. */
  coverage: number;
}

const sprites = new Map<string, Sprite>();

/** The icon at `size` pixels; parts that follow the text colour are black. Cached for the life of the process. */
export function sprite(set: string, icon: string, size: number): Sprite {
  const key = `${set}/${icon}/${size}`;
  let made = sprites.get(key);
  if (!made) sprites.set(key, (made = rasterise(set, icon, size)));
  return made;
}

function rasterise(set: string, name: string, size: number): Sprite {
  const { icons, width = 16, height = 16 } = iconSet(set);
  const icon = icons[name];
  if (!icon) throw new Error(`Icon set ${set} has no icon "${name}", or it is one that the rasteriser cannot draw.`);
  const box = [icon.left ?? 0, icon.top ?? 0, icon.width ?? width, icon.height ?? height].join(' ');
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="${box}" ` +
    `width="${size}" height="${size}" color="#000">${icon.body}</svg>`;
  // Without this option resvg scans the system's fonts for every picture.
  const rgba = Uint8Array.from(new Resvg(svg, { font: { loadSystemFonts: false } }).render().pixels);

  let [red, green, blue, alpha] = [0, 0, 0, 0];
  for (let i = 0; i < rgba.length; i += 4) {
    red += rgba[i];
    green += rgba[i + 1];
    blue += rgba[i + 2];
    alpha += rgba[i + 3];
  }
  const scale = alpha ? 255 / alpha : 0;
  return { size, rgba, mean: [red * scale, green * scale, blue * scale], coverage: alpha / 255 / (size * size) };
}

/**
 * Draws `source` over `target` (RGB, side · side · 3) with its top left corner at (x, y). Parts outside are cut off. With a `tint`, only the
 * shape of the sprite counts and all of it has that colour.
 */
export function drawSprite(target: Uint8Array, side: number, source: Sprite, x: number, y: number, tint?: Rgb): void {
  const { size, rgba } = source;
  const fromRow = Math.max(0, -y);
  const toRow = Math.min(size, side - y);
  const fromColumn = Math.max(0, -x);
  const toColumn = Math.min(size, side - x);
  for (let row = fromRow; row < toRow; row++) {
    let s = (row * size + fromColumn) * 4;
    let t = ((y + row) * side + x + fromColumn) * 3;
    for (let column = fromColumn; column < toColumn; column++, s += 4, t += 3) {
      const alpha = rgba[s + 3];
      if (alpha === 0) continue;
      const keep = 255 - alpha;
      for (let channel = 0; channel < 3; channel++) {
        const own = tint ? Math.round((tint[channel] * alpha) / 255) : rgba[s + channel];
        target[t + channel] = own + Math.round((target[t + channel] * keep) / 255);
      }
    }
  }
}
