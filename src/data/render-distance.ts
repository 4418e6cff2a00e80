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

/** The picture of a concept at 16 pixels on each test ground, as one vector. */
function fingerprint(concept: Concept, style: (typeof paintedStyles)[number]): Uint8Array {
  const source = sprite(artwork[style], concept.icons[style]!, side);
  const parts = testGrounds.map((ground) => {
    const picture = Uint8Array.from({ length: side * side * 3 }, (_, i) => ground[i % 3]);
    drawSprite(picture, side, source, 0, 0);
    return picture;
  });
  return Uint8Array.from(parts.flatMap((part) => [...part]));
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
      .map((concept) => ({ concept, picture: fingerprint(concept, style) }));
    for (let i = 0; i < drawn.length; i++) {
      for (let j = 0; j < i; j++) {
        const [a, b] = [drawn[j], drawn[i]];
        if (a.concept.family !== b.concept.family && isNear(a.picture, b.picture)) pairs.set(`${a.concept.name}~${b.concept.name}`, [a.concept.name, b.concept.name]);
      }
    }
  }
  return [...pairs.values()];
}

/** Whether the two differ by less than the threshold on both grounds. */
function isNear(a: Uint8Array, b: Uint8Array): boolean {
  const half = a.length / 2;
  const limit = half * threshold ** 2;
  for (const start of [0, half]) {
    let sum = 0;
    for (let i = start; i < start + half; i++) {
      sum += (a[i] - b[i]) ** 2;
      if (sum >= limit) return false;
    }
  }
  return true;
}
