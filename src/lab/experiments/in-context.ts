import { contextTasks, type ContextTask } from '../../data/subjects.js';
import { drawInContext, givenPictures, measureInContext, type GivenPicture } from '../../eval/nano/in-context.js';
import { nano } from '../../train/stages.js';
import { nanoSweep, type NanoOptions } from './nano.js';
import { withSamples } from './samples.js';

type InContextConfig = {
  /** Data of stage III: nano's own, which has a few recolourings, or with both kinds of request beside it. */
  trained: 'default' | 'in-context';
  task: ContextTask;
  /** The picture that the request is about, that of another request, or none: what the words and the habit alone give. */
  given: GivenPicture;
};

/** What each kind of request weighs, as a share of all other data of stage III. */
const share = 0.25;

/** Image-to-image translation and subject-driven generation: does the drawn picture show what the given one shows? Trainings are shared by all tasks. */
export const inContext = (options?: NanoOptions) =>
  nanoSweep<InContextConfig>(
    {
      name: 'in-context',
      question: 'Do drawn pictures keep the subject of a picture that is given, and change what the words ask for?',
      base: { trained: 'default', task: 'recolor', given: 'own' },
      grid: { trained: ['default', 'in-context'], task: contextTasks, given: givenPictures },
      seeds: [0, 1, 2],
      secondsPerTrial: 60,
      recipe({ trained }) {
        if (trained === 'default') return {};
        const weight = share * Object.values(nano.sft.data).reduce((a, b) => a + b, 0);
        return { changes: { sft: { data: { ...nano.sft.data, recolors: weight, subjects: weight } } } };
      },
      measurements: {
        creation: {
          async run(subject, { task, given }, { sizes, signal }) {
            const drawings = await drawInContext(subject, task, given, { count: Math.ceil(sizes.pictures / 2), signal });
            return withSamples(measureInContext(drawings), drawings);
          },
        },
      },
    },
    options,
  );
