import { measureComprehension, measureCreation } from '../measure-nano.js';
import { nanoSweep, type NanoOptions } from './nano.js';

/** How much the model suffers when a share of the captions of stages I and II belongs to another picture, as in data from the web. */
export const dataNoise = (options?: NanoOptions) =>
  nanoSweep<{ noise: number }>(
    {
      name: 'data-noise',
      question: 'How many captions may be wrong before comprehension and creation suffer?',
      base: { noise: 0 },
      grid: { noise: [0, 0.1, 0.3, 0.6] },
      seeds: [0, 1, 2],
      secondsPerTrial: 420,
      recipe({ noise }) {
        if (noise === 0) return {};
        const noisy = (size: number) => ({ pairs: size * (1 - noise), 'mismatched-pairs': size * noise });
        return {
          changes: {
            'alignment-comprehension': { data: noisy(1) },
            'alignment-creation': { data: noisy(1) },
            'i-gpt': { data: { documents: 7, ...noisy(10) } },
          },
        };
      },
      measurements: {
        comprehension: { run: (subject, _config, how) => measureComprehension(subject, how) },
        creation: { run: (subject, _config, how) => measureCreation(subject, how) },
      },
    },
    options,
  );
