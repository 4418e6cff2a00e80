import { inspect } from 'node:util';
import { figureBundle, isFigure } from './figure.js';
import { asPicture } from './picture.js';
import { asTable, tableBundle } from './table.js';
import { describeTensor, isTensor } from './tensor.js';

/** Representations of one value by media type; the front end shows the richest it can. */
export type Bundle = Record<string, unknown>;

/**
 * Objects say how they are shown by a method under this symbol that returns a bundle, or a promise of one. Deno's kernel
 * has the same hook, so libraries need only one.
 */
export const displayHook = Symbol.for('Jupyter.display');

/** The representations of a value. Nothing for `undefined`. */
export async function bundleOf(value: unknown): Promise<Bundle | undefined> {
  if (value === undefined) return undefined;
  const hook = (value as { [displayHook]?: unknown } | null)?.[displayHook];
  if (typeof hook === 'function') {
    const bundle: unknown = await hook.call(value);
    if (typeof bundle !== 'object' || bundle === null) throw new TypeError('The method Symbol.for("Jupyter.display") must return an object of media types.');
    return bundle as Bundle;
  }
  if (typeof value === 'object' && value !== null) {
    if (isFigure(value)) return figureBundle(value);
    if (isTensor(value)) return describeTensor(value);
    const table = asTable(value);
    if (table) return tableBundle(table);
    const picture = asPicture(value);
    if (picture) return picture;
  }
  return { 'text/plain': typeof value === 'string' ? value : inspect(value, { depth: 4, maxArrayLength: 100, maxStringLength: 10_000, breakLength: 100 }) };
}
