import { measurement } from '../../eval/protocol.js';
import { foundationSettings } from '../../train/foundation/settings.js';
import { measureComprehension, measureCreation } from '../measure-nano.js';
import { nanoSweep, type NanoOptions } from './nano.js';

/** Language models of half, equal and one and a half times nano's width and depth, each pretrained as long as the foundation's, then taken through all stages. */
export const languageScale = (options?: NanoOptions) =>
  nanoSweep<{ scale: number }>(
    {
      name: 'language-scale',
      question: 'What does a larger language model buy in reading and in drawing?',
      base: { scale: 1 },
      grid: { scale: [0.5, 1, 1.5] },
      seeds: [0, 1, 2],
      secondsPerTrial: 600,
      recipe: ({ scale }) => ({ language: { scale, steps: foundationSettings.lm.steps } }),
      measurements: {
        language: {
          async run(_subject, { scale }, { language }) {
            const protocol = { dataset: 'texts of the foundation', split: 'val', pretrainingSteps: language!.steps, scale, modelScale: 'nano' };
            return [
              measurement({ metric: 'language-perplexity', value: language!.valPerplexity, n: 128, protocol: { ...protocol, windowTokens: 128 } }),
              measurement({ metric: 'language-parameters', value: language!.parameters, n: 1, protocol }),
            ];
          },
        },
        comprehension: { run: (subject, _config, how) => measureComprehension(subject, how) },
        creation: { run: (subject, _config, how) => measureCreation(subject, how) },
      },
    },
    options,
  );
