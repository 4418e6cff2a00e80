import type { Rgb } from '../core/images.js';

/** What an outline can be drawn in: far apart from one another, so that colour is a fair question. */
export const inks = {
  red: [214, 40, 40],
  orange: [240, 130, 20],
  yellow: [245, 205, 30],
  green: [40, 150, 60],
  blue: [40, 90, 210],
  purple: [130, 60, 180],
  pink: [240, 120, 180],
  black: [20, 20, 20],
} as const satisfies Record<string, Rgb>;
export type Ink = keyof typeof inks;
export const inkNames = Object.keys(inks) as Ink[];

/** What a scene can stand on. */
export const grounds = {
  white: [250, 250, 250],
  grey: [165, 168, 172],
  black: [28, 28, 32],
  red: [205, 90, 85],
  orange: [246, 190, 125],
  yellow: [250, 236, 150],
  green: [155, 208, 145],
  blue: [150, 195, 242],
  purple: [186, 160, 222],
  pink: [248, 190, 210],
} as const satisfies Record<string, Rgb>;
export type Ground = keyof typeof grounds;
export const groundNames = Object.keys(grounds) as Ground[];

export const distance = (a: Rgb, b: Rgb): number => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
