import type { Extractor } from './reference.js';

export interface ExtractorOptions {
  /** Weights file, for a network that this project does not ship. */
  readonly weights?: string;
}

const makers: Record<string, (options: ExtractorOptions) => Promise<Extractor>> = {};

export const extractorNames = Object.keys(makers);

/** The network that turns pictures into features, by name. It is never one that this project trains on those pictures. */
export async function extractorNamed(name: string, options: ExtractorOptions = {}): Promise<Extractor> {
  const make = makers[name];
  if (!make) throw new Error(`Unknown extractor "${name}". There are: ${extractorNames.join(', ')}.`);
  return make(options);
}
