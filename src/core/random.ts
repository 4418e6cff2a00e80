/**
 * Seeded randomness without state to save: a stream is named by a seed and a path, such as (42, 'sft', 'noise', step), and the same name
 * always gives the same numbers. Resuming a run therefore needs the step alone.
 */
export interface Random {
  /** A number in [0, 1). */
  uniform(): number;
  /** An integer in [0, count). */
  integer(count: number): number;
  /** A draw from N(0, 1). */
  normal(): number;
  /** One of `items`, each as likely; an error when there is none. */
  choice<T>(items: readonly T[]): T;
  /** A shuffled copy (Fisher-Yates). */
  shuffle<T>(items: readonly T[]): T[];
  /** `count` draws from N(0, 1). */
  normals(count: number): Float32Array;
}

export type Path = readonly (string | number)[];

/** The stream named by `seed` and `path`. Uses xoshiro128** (Blackman and Vigna 2018) on a state mixed from the name. */
export function random(seed: number, ...path: Path): Random {
  let [a, b, c, d] = mix(seed, path);
  const next = () => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = rotate(d, 11);
    return result;
  };
  const uniform = () => (next() * 2 ** 21 + (next() >>> 11)) / 2 ** 53;

  let spare: number | undefined;
  const normal = () => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    // Box and Muller 1958; 1 - u is never 0.
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
  const integer = (count: number) => Math.floor(uniform() * count);

  return {
    uniform,
    integer,
    normal,
    choice(items) {
      if (items.length === 0) throw new Error('choice: expected at least one item, found none.');
      return items[integer(items.length)];
    },
    shuffle(items) {
      const copy = [...items];
      for (let i = copy.length - 1; i > 0; i--) {
        const j = integer(i + 1);
        [copy[i], copy[j]] = [copy[j], copy[i]];
      }
      return copy;
    },
    normals(count) {
      const values = new Float32Array(count);
      for (let i = 0; i < count; i++) values[i] = normal();
      return values;
    },
  };
}

/** A 32-bit seed named by `seed` and `path`, for code that wants a number. */
export const deriveSeed = (seed: number, ...path: Path): number => mix(seed, path)[0] >>> 0;

const rotate = (x: number, k: number) => (x << k) | (x >>> (32 - k));

/** Four words of state from the name (FNV-1a over its text, then the finaliser of MurmurHash3). */
function mix(seed: number, path: Path): [number, number, number, number] {
  const text = JSON.stringify([seed, ...path]);
  const words = [0x811c9dc5, 0x9e3779b9, 0x85ebca6b, 0xc2b2ae35];
  for (let w = 0; w < 4; w++) {
    let hash = words[w];
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    words[w] = hash ^ (hash >>> 16);
  }
  return words as [number, number, number, number];
}
