import { measureLanguage } from '../../eval/nano/language.js';
import type { StageName } from '../../train/stages.js';
import type { DeclaredTable } from '../paper-tables.js';
import { nanoSweep, type NanoOptions } from './nano.js';

type RetentionConfig = {
  /** Stage I leaves the foundation's language model as it is, which stands for Vicuna; stage III has trained it with pictures. */
  stage: Extract<StageName, 'alignment-comprehension' | 'sft'>;
};

/** Table 4: what learning to read and draw does to language without pictures. */
export const languageRetention = (options?: NanoOptions) =>
  nanoSweep<RetentionConfig>(
    {
      name: 'language-retention',
      question: 'Does the language model keep what it knew before it learned to read and to draw?',
      base: { stage: 'sft' },
      grid: { stage: ['alignment-comprehension', 'sft'] },
      seeds: [0, 1, 2],
      secondsPerTrial: 60,
      recipe: ({ stage }) => ({ last: stage }),
      measurements: { language: { run: (subject, _config, { sizes, signal }) => measureLanguage(subject, { count: Math.ceil(sizes.questions / 2), signal }) } },
    },
    options,
  );

const row = (method: string, stage: RetentionConfig['stage'], against?: string) => ({
  label: method, paper: { method, benchmark: 'HellaSwag' }, where: { stage }, metric: 'definition-accuracy', higherIsBetter: true, ...(against ? { against } : {}),
});

export const languageTable: DeclaredTable = {
  sweeps: ['language-retention'], title: 'Language', paperTable: 'table4_language', paperModel: '7B', projectModel: 'nano; definitions of the emoji world, scored as HellaSwag is',
  counterparts: [row('Vicuna-7B', 'alignment-comprehension'), row('DreamLLM-7B', 'sft', 'Vicuna-7B')],
};
