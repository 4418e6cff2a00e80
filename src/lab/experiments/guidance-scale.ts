import { measureGuidanceScale } from '../measure-nano.js';
import { nanoSweep, type NanoOptions } from './nano.js';

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
      measurements: { creation: { run: (subject, { guidanceScale: scale }, how) => measureGuidanceScale(subject, scale, how) } },
    },
    options,
  );
