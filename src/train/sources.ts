import { pairAt } from '../data/captions.js';
import type { Source } from '../data/batches.js';
import { documentAt } from '../data/documents.js';
import { conversationAt, instructInterleavedAt } from '../data/instructions.js';
import type { TrainingRecord } from '../data/samples.js';

/** The endless lists of the emoji world, by the names that nano's stages mix them under. */
const generators: Record<string, (seed: number, index: number) => TrainingRecord> = {
  pairs: (seed, index) => pairAt(seed, index, { split: 'train' }),
  documents: (seed, index) => documentAt(seed, index, { split: 'train' }),
  conversations: (seed, index) => conversationAt(seed, index, { split: 'train' }),
  'instruct-documents': (seed, index) => instructInterleavedAt(seed, index, { split: 'train' }),
};

/** The sources that a stage's data names, generated from a seed. */
export function generatedSources(data: Readonly<Record<string, number>>, seed: number): Source<TrainingRecord>[] {
  return Object.entries(data).map(([name, weight]) => {
    const at = generators[name];
    if (!at) throw new Error(`No data set "${name}" is generated here; there are ${Object.keys(generators).join(', ')}. Pass sources that read it from files.`);
    return { name, weight, at: (index) => at(seed, index) };
  });
}
