import { measurement, type Measurement } from '../../eval/protocol.js';
import { mean } from '../../eval/statistics.js';
import { readEvents } from '../../train/run-folder.js';
import { nano, stepsOf } from '../../train/stages.js';
import { measureComprehension, measureCreation } from '../measure-nano.js';
import { nanoSweep, type NanoOptions } from './nano.js';

type LengthConfig = {
  /** Share of stage III's steps; 0 is the model after stage II. */
  share: number;
};

const stepsAt = (share: number) => Math.round(share * stepsOf(nano.sft));

/** Abilities against the length of stage III. Each length is a training of its own with a whole schedule, not a checkpoint of a longer one. */
export const trainingLength = (options?: NanoOptions) =>
  nanoSweep<LengthConfig & { steps: number }>(
    {
      name: 'training-length',
      question: 'How do reading and drawing grow with the steps of stage III?',
      base: { share: 1, steps: stepsAt(1) },
      list: [0, 0.25, 0.5, 1].map((share) => ({ share, steps: stepsAt(share) })),
      seeds: [0, 1, 2],
      secondsPerTrial: 150,
      recipe: ({ share, steps }) => (share === 0 ? { last: 'i-gpt' } : share === 1 ? {} : { changes: { sft: { length: { steps } } } }),
      measurements: {
        comprehension: { run: (subject, _config, how) => measureComprehension(subject, how) },
        creation: { run: (subject, _config, how) => measureCreation(subject, how) },
        losses: { run: async (_subject, _config, { stage }) => [lossCurveOf(stage)] },
      },
    },
    options,
  );

/** The losses that a stage logged, thinned to means over equal stretches of steps; the value is the sum's mean over the last one. */
export function lossCurveOf(stage: string, points = 30): Measurement {
  const steps = readEvents(stage).filter(({ type }) => type === 'step');
  if (steps.length === 0) throw new Error(`${stage} logged no steps.`);
  const size = Math.ceil(steps.length / points);
  const stretches = Array.from({ length: Math.ceil(steps.length / size) }, (_, i) => steps.slice(i * size, (i + 1) * size));
  const curve = (name: string) => stretches.map((stretch) => Number(mean(stretch.map((event) => event[name] as number)).toPrecision(5)));
  return measurement({
    metric: 'last-loss', value: curve('loss').at(-1)!, n: stretches.at(-1)!.length, protocol: { dataset: 'training data', steps: steps.length, of: 'weighted sum', modelScale: 'nano' },
    details: { curve: { step: stretches.map((stretch) => stretch.at(-1)!.step!), lm: curve('lm'), diffusion: curve('diffusion') } },
  });
}
