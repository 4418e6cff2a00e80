import { nano } from '../../train/stages.js';
import { measureComprehension, measureCreation } from '../measure-nano.js';
import { nanoSweep, type NanoOptions } from './nano.js';

type RatioConfig = {
  /** Creation samples for each comprehension sample of stage III. */
  dose: number;
  /** `updates`: as many steps for all, so that more creation means less comprehension. `comprehension`: as much comprehension for all, and steps on top. */
  equal: 'updates' | 'comprehension';
};

/** A dose-response curve: what a growing share of creation data in stage III does to both tasks. */
export const comprehensionCreationRatio = (options?: NanoOptions) =>
  nanoSweep<RatioConfig>(
    {
      name: 'comprehension-creation-ratio',
      question: 'How do both tasks answer to the dose of creation data, at equal updates and at equal comprehension data?',
      base: { dose: 0.25, equal: 'updates' },
      grid: { dose: [0, 0.25, 0.5, 1, 2], equal: ['updates', 'comprehension'] },
      seeds: [0, 1, 2],
      secondsPerTrial: 150,
      recipe({ dose, equal }) {
        const data: Record<string, number> = dose === 0 ? { conversations: 1 } : { conversations: 1, 'creation-pairs': dose };
        const steps = 'steps' in nano.sft.length ? nano.sft.length.steps : 0;
        return { changes: { sft: { data, length: { steps: equal === 'updates' ? steps : Math.round(steps * (1 + dose)) } } } };
      },
      measurements: {
        comprehension: { run: (subject, _config, how) => measureComprehension(subject, how) },
        creation: { run: (subject, _config, how) => measureCreation(subject, how) },
      },
    },
    options,
  );
