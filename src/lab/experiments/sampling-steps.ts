import { drawTestSet } from '../../eval/nano/creation.js';
import { fullSizes, measureDrawings } from '../measure-nano.js';
import { nanoSweep, type NanoOptions } from './nano.js';

/** Quality against the number of DDIM steps, from the same noise. One model a seed; the numbers of steps share it. */
export const samplingSteps = (options?: NanoOptions) =>
  nanoSweep<{ steps: number }>(
    {
      name: 'sampling-steps',
      question: 'How many sampling steps do the pictures need?',
      base: { steps: 20 },
      grid: { steps: [5, 10, 20, 50] },
      seeds: [0, 1, 2],
      secondsPerTrial: 150,
      measurements: {
        creation: {
          async run(subject, { steps }, { sizes = fullSizes, foundation, signal }) {
            return measureDrawings(await drawTestSet(subject, { count: sizes.pictures, steps, signal }), foundation, signal);
          },
        },
      },
    },
    options,
  );
