import { random } from '../core/random.js';

/** Ways to spoil a picture, for questions about image quality. */
export const effects = ['blurred', 'noisy', 'dark'] as const;
export type Effect = (typeof effects)[number];

/** `pixels` RGB, side · side · 3; returns a new array. */
export function applyEffect(pixels: Uint8Array, side: number, effect: Effect): Uint8Array {
  if (effect === 'dark') return pixels.map((value) => value * 0.3);
  if (effect === 'noisy') {
    const stream = random(0, 'noise', side);
    return pixels.map((value) => Math.max(0, Math.min(255, value + 55 * stream.normal())));
  }
  return boxBlur(boxBlur(pixels, side), side);
}

/** Mean over a square of about a tenth of the side, cut at the border. */
function boxBlur(pixels: Uint8Array, side: number): Uint8Array {
  const radius = Math.max(1, Math.round(side / 20));
  const blurred = new Uint8Array(pixels.length);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [top, bottom, left, right] = [Math.max(0, y - radius), Math.min(side - 1, y + radius), Math.max(0, x - radius), Math.min(side - 1, x + radius)];
      const sum = [0, 0, 0];
      for (let v = top; v <= bottom; v++) for (let u = left; u <= right; u++) for (let c = 0; c < 3; c++) sum[c] += pixels[(v * side + u) * 3 + c];
      const count = (bottom - top + 1) * (right - left + 1);
      for (let c = 0; c < 3; c++) blurred[(y * side + x) * 3 + c] = Math.round(sum[c] / count);
    }
  }
  return blurred;
}
