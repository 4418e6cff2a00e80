import { measureConditionRank, measureQueryAblation, measureQueryMaps } from '../../eval/nano/queries.js';
import type { StageName } from '../../train/stages.js';
import { nanoSweep, type NanoOptions } from './nano.js';

type MicroscopeConfig = { stage: Extract<StageName, 'alignment-creation' | 'i-gpt' | 'sft'> };

/** What the dream queries learn (Figure 6), after each stage that trains them: where they are looked at, what each is worth, how many directions they take. */
export const queryMicroscope = (options?: NanoOptions) =>
  nanoSweep<MicroscopeConfig>(
    {
      name: 'query-microscope',
      question: 'What do the dream queries learn, and do they learn different things?',
      base: { stage: 'sft' },
      grid: { stage: ['alignment-creation', 'i-gpt', 'sft'] },
      seeds: [0, 1, 2],
      secondsPerTrial: 120,
      recipe: ({ stage }) => ({ last: stage }),
      measurements: {
        rank: { run: (subject, _config, { sizes, signal }) => measureConditionRank(subject, { count: Math.ceil(sizes.pictures / 4), signal }) },
        ablation: { run: (subject, _config, { sizes, signal }) => measureQueryAblation(subject, { count: Math.max(2, Math.ceil(sizes.pictures / 4)), signal }) },
        maps: { run: (subject, _config, { sizes, signal }) => measureQueryMaps(subject, { count: Math.ceil(sizes.pictures / 8), signal }) },
      },
    },
    options,
  );
