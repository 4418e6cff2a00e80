import { measureFewShot } from '../../eval/nano/few-shot.js';
import { nanoSweep, type NanoOptions } from './nano.js';

type FewShotConfig = { shots: number; answers: 'true' | 'permuted' };

/** The paper's few-shot table (Table 8, whose values are not known here): solved examples before the question. One training a seed. */
export const fewShot = (options?: NanoOptions) =>
  nanoSweep<FewShotConfig>(
    {
      name: 'few-shot',
      question: 'Do solved examples in context help to answer, and is it their content or their form?',
      base: { shots: 0, answers: 'true' },
      list: [{ shots: 0 }, { shots: 1 }, { shots: 2 }, { shots: 4 }, { shots: 4, answers: 'permuted' }],
      seeds: [0, 1, 2],
      secondsPerTrial: 60,
      measurements: { comprehension: { run: async (subject, config, { sizes, signal }) => [await measureFewShot(subject, { ...config, count: sizes.questions, signal })] } },
    },
    options,
  );
