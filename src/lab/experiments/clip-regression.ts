import * as tf from '@tensorflow/tfjs';
import { nano as nanoModel } from '../../dreamllm/presets.js';
import { loadFoundation } from '../../train/hand-off.js';
import { nano } from '../../train/stages.js';
import { drawFromText } from '../foundation-drawings.js';
import { measureComprehension, measureCreation, measureDrawings, nanoClipJudge } from '../measure-nano.js';
import { nanoSweep, type NanoOptions } from './nano.js';

/**
 * `raw-space`: the diffusion loss through the frozen U-Net, as DreamLLM has it. `clip-regression`: the conditions are fitted to CLIP's text states and the
 * U-Net is not asked. `clip-states`: those text states themselves, what a perfect regression would give.
 */
const objectives = ['raw-space', 'clip-regression', 'clip-states'] as const;
type RegressionConfig = { objective: (typeof objectives)[number] };

/** The paper's argument against an intermediate CLIP space (section 2), asked of nano: everything equal but what the dream queries are trained for. */
export const clipRegression = (options?: NanoOptions) =>
  nanoSweep<RegressionConfig>(
    {
      name: 'clip-regression',
      question: 'Is it better to learn through the diffusion loss, or to regress the CLIP states that the U-Net was trained with?',
      base: { objective: 'raw-space' },
      grid: { objective: objectives },
      seeds: [0, 1, 2],
      secondsPerTrial: 300,
      recipe({ objective }) {
        if (objective !== 'clip-regression') return {};
        // The weight of the diffusion loss goes to the regression, stage by stage.
        const instead = ({ lm, diffusion }: { lm: number; diffusion: number }) => ({ lossWeights: { lm, diffusion: 0, regression: diffusion } });
        return { changes: { 'alignment-creation': instead(nano['alignment-creation'].lossWeights), 'i-gpt': instead(nano['i-gpt'].lossWeights), sft: instead(nano.sft.lossWeights) } };
      },
      measurements: {
        creation: {
          async run(subject, { objective }, how) {
            if (objective !== 'clip-states') return measureCreation(subject, how);
            const { foundation, sizes, signal } = how;
            const params = loadFoundation(nanoModel, foundation, 0);
            const judge = nanoClipJudge(foundation);
            try {
              const { unet, vae } = params.stable_diffusion_head;
              const drawings = await drawFromText({ unet, vae, judge }, { count: sizes.pictures, positions: nanoModel.numDreamQueries, guidanceScale: 2, signal });
              return await measureDrawings({ ...drawings, protocol: { ...drawings.protocol, modelScale: 'nano' } }, foundation, signal);
            } finally {
              tf.dispose(params as unknown as tf.TensorContainer);
              judge.dispose();
            }
          },
        },
        // The third objective trains nothing of its own: its model is the first one's.
        comprehension: { run: async (subject, { objective }, how) => (objective === 'clip-states' ? [] : measureComprehension(subject, how)) },
      },
    },
    options,
  );
