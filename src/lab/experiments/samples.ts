import { encodePng } from '../../core/images.js';
import type { Drawings } from '../../eval/nano/creation.js';
import type { Measurement } from '../../eval/protocol.js';

/** A picture as a record keeps it: what was asked and the PNG in base64. */
export interface Sample {
  prompt: string;
  png: string;
}

const shown = 6;

/** Puts the first drawn pictures into the details of the first measurement, so that figures can show what the numbers are about. */
export async function withSamples(measured: readonly Measurement[], { prompts, drawn }: Pick<Drawings, 'prompts' | 'drawn'>): Promise<Measurement[]> {
  const [first, ...rest] = measured;
  const samples: Sample[] = [];
  for (const [i, image] of drawn.slice(0, shown).entries()) samples.push({ prompt: prompts[i], png: Buffer.from(await encodePng(image)).toString('base64') });
  return [{ ...first, details: { ...(first.details as object | undefined), samples } }, ...rest];
}
