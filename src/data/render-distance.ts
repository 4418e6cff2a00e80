import { artwork, concepts, paintedStyles, type Concept } from './emoji.js';
import { drawSprite, sprite } from './sprites.js';

const side = 16;
/** Two grounds, because white art vanishes on white and grey art on grey. */
const testGrounds = [
  [90, 140, 190],
  [235, 200, 60],
] as const;
/** Root mean square difference in grey levels below which two pictures count as the same. */
const threshold = 10;

/** A picture on both test grounds, and its means over blocks of 4 × 4 pixels. */
interface Fingerprint {
  /** grounds · side · side · 3 */
  pixels: Uint8Array;
  /** grounds · (side / block)² · 3 */
  means: Float32Array;
}

const block = 4;

function fingerprint(concept: Concept, style: (typeof paintedStyles)[number]): Fingerprint {
  const source = sprite(artwork[style], concept.icons[style]!, side);
  const pixels = new Uint8Array(testGrounds.length * side * side * 3);
  testGrounds.forEach((ground, g) => {
    const picture = pixels.subarray(g * side * side * 3, (g + 1) * side * side * 3);
    for (let i = 0; i < picture.length; i++) picture[i] = ground[i % 3];
    drawSprite(picture, side, source, 0, 0);
  });
  const blocks = side / block;
  const means = new Float32Array(testGrounds.length * blocks * blocks * 3);
  for (let i = 0; i < pixels.length; i++) {
    const [channel, pixel] = [i % 3, Math.floor(i / 3)];
    const [x, row] = [pixel % side, Math.floor(pixel / side)]; // rows run on from one ground to the next
    means[(Math.floor(row / block) * blocks + Math.floor(x / block)) * 3 + channel] += pixels[i] / block ** 2;
  }
  return { pixels, means };
}

/**
 * Pairs of concepts in different families of which some style draws nearly the same picture. `near-duplicates.ts` holds the result, so
 * that starting up needs no pictures; a test finds them again.
 */
export function findNearDuplicates(): [string, string][] {
  const pairs = new Map<string, [string, string]>();
  for (const style of paintedStyles) {
    const drawn = concepts()
      .filter((concept) => concept.icons[style])
      .map((concept) => ({ concept, look: fingerprint(concept, style) }));
    for (let i = 0; i < drawn.length; i++) {
      for (let j = 0; j < i; j++) {
        const [a, b] = [drawn[j], drawn[i]];
        if (a.concept.family === b.concept.family || !isNear(a.look, b.look)) continue;
        pairs.set(`${a.concept.name}~${b.concept.name}`, [a.concept.name, b.concept.name]);
      }
    }
  }
  return [...pairs.values()];
}

/** Whether two pictures differ by less than the threshold on both grounds. */
function isNear(a: Fingerprint, b: Fingerprint): boolean {
  const limit = side * side * 3 * threshold ** 2;
  // Means of blocks differ by no more than their pixels do, so that most pairs are told apart by the means alone.
  return isBelow(a.means, b.means, limit / block ** 2) && isBelow(a.pixels, b.pixels, limit);
}

/** Whether the sum of squared differences is below `limit` in both halves. */
function isBelow(a: ArrayLike<number>, b: ArrayLike<number>, limit: number): boolean {
  const half = a.length / 2;
  for (const start of [0, half]) {
    let sum = 0;
    for (let i = start; i < start + half; i++) {
      sum += (a[i] - b[i]) ** 2;
      if (sum >= limit) return false;
    }
  }
  return true;
}
