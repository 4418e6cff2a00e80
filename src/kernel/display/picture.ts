import { Buffer } from 'node:buffer';
import { encodePng } from '../figures/png.js';
import { type Bundle } from './bundle.js';

const signatures: [type: string, name: string, matches: (bytes: Uint8Array) => boolean][] = [
  ['image/png', 'PNG', (b) => startsWith(b, [0x89, 0x50, 0x4e, 0x47])],
  ['image/jpeg', 'JPEG', (b) => startsWith(b, [0xff, 0xd8, 0xff])],
  ['image/gif', 'GIF', (b) => startsWith(b, [0x47, 0x49, 0x46, 0x38])],
  ['image/webp', 'WebP', (b) => startsWith(b, [0x52, 0x49, 0x46, 0x46]) && startsWith(b.subarray(8), [0x57, 0x45, 0x42, 0x50])],
];

const startsWith = (bytes: Uint8Array, prefix: number[]) => prefix.every((byte, i) => bytes[i] === byte);

/** Encoded pictures by their first bytes, and `{ width, height, data }` with one, three or four bytes a pixel. */
export function asPicture(value: object): Bundle | undefined {
  if (value instanceof Uint8Array) {
    const known = signatures.find(([, , matches]) => matches(value));
    return known && { [known[0]]: Buffer.from(value).toString('base64'), 'text/plain': `${known[1]} picture, ${value.length} bytes` };
  }
  const { width, height, data } = value as { width?: unknown; height?: unknown; data?: unknown };
  if (!Number.isInteger(width) || !Number.isInteger(height) || !(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) return undefined;
  const [w, h] = [width as number, height as number];
  const channels = data.length / (w * h);
  if (![1, 3, 4].includes(channels)) return undefined;
  const pixels = new Uint8ClampedArray(4 * w * h).fill(255);
  for (let i = 0; i < w * h; i++) for (let c = 0; c < (channels === 4 ? 4 : 3); c++) pixels[4 * i + c] = data[channels === 1 ? i : channels * i + c];
  return { 'image/png': encodePng(pixels, w, h).toString('base64'), 'text/plain': `Picture, ${w} × ${h} pixels` };
}
