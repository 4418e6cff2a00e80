import { measureComprehension, measureCreation } from '../measure-nano.js';
import type { DeclaredTable } from '../paper-tables.js';
import { nanoSweep, type NanoOptions } from './nano.js';

/** Table 9a: half, as many and twice the default number of dream queries, and a quarter beside. Nano's default is 16, the paper's 64. */
export const dreamQueries = (options?: NanoOptions) =>
  nanoSweep<{ numDreamQueries: number }>(
    {
      name: 'dream-queries',
      question: 'How many dream queries does image quality need?',
      base: { numDreamQueries: 16 },
      grid: { numDreamQueries: [4, 8, 16, 32] },
      seeds: [0, 1, 2],
      secondsPerTrial: 420,
      // The model's shape changes, so no stage can be shared.
      recipe: ({ numDreamQueries }) => ({ config: { numDreamQueries } }),
      measurements: {
        creation: { run: (subject, _config, how) => measureCreation(subject, how) },
        comprehension: { run: (subject, _config, how) => measureComprehension(subject, how) },
      },
    },
    options,
  );

const row = (here: number, paper: number, against?: string) => ({
  label: `${here} of nano for ${paper}`,
  paper: { benchmark: `MS-COCO, ${paper} dream queries` },
  where: { numDreamQueries: here },
  metric: 'fid',
  higherIsBetter: false,
  ...(against ? { against } : {}),
});

export const dreamQueriesTable: DeclaredTable = {
  sweeps: ['dream-queries'],
  title: 'Number of dream queries',
  paperTable: 'table9a_dream_query_count',
  paperModel: '7B',
  projectModel: 'nano: half, default and double are 8, 16 and 32',
  counterparts: [row(16, 64), row(8, 32, '16 of nano for 64'), row(32, 128, '16 of nano for 64')],
};
