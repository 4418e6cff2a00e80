import { drawTestSet } from '../../eval/nano/creation.js';
import { measureDrawings } from '../measure-nano.js';
import { nanoSweep, type NanoOptions } from './nano.js';
import { withSamples } from './samples.js';

/** FID against CLIP score over guidance scales. One model a seed; the scales share it. */
export const guidanceScale = (options?: NanoOptions) =>
  nanoSweep<{ guidanceScale: number }>(
    {
      name: 'guidance-scale',
      question: 'What does guidance buy, and what does it cost? FID and CLIP score at each scale.',
      base: { guidanceScale: 2 },
      grid: { guidanceScale: [1, 1.5, 2, 3, 4, 7.5] },
      seeds: [0, 1, 2],
      secondsPerTrial: 120,
      measurements: {
        creation: {
          async run(subject, { guidanceScale: scale }, { sizes, foundation, signal }) {
            const drawings = await drawTestSet(subject, { count: sizes.pictures, guidanceScale: scale, signal });
            return withSamples(await measureDrawings(drawings, foundation, signal), drawings);
          },
        },
      },
    },
    options,
  );
