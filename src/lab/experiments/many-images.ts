import { longDocuments } from '../../data/documents.js';
import { nano as nanoModel } from '../../dreamllm/presets.js';
import { measureDreamTokens } from '../../eval/nano/documents.js';
import { nano } from '../../train/stages.js';
import { nanoSweep, type NanoOptions } from './nano.js';

type ManyImagesConfig = {
  /** Documents of the training: nano's own, of two or three pictures, or of up to six. */
  trained: 'short' | 'long';
  /** Pictures of the documents that are read. */
  pictures: number;
};

/** Longer documents in place of nano's, and room for them: everything else as it is. */
const longer = (data: Readonly<Record<string, number>>, names: Readonly<Record<string, string>>) => ({
  data: Object.fromEntries(Object.entries(data).map(([name, size]) => [names[name] ?? name, size])), maxTokens: nanoModel.language.maxPositions,
});

/** Whether pictures are still put where they belong in documents longer than those of the training. Trainings are shared by all lengths. */
export const manyImages = (options?: NanoOptions) =>
  nanoSweep<ManyImagesConfig>(
    {
      name: 'many-images',
      question: 'Does the model place pictures in documents with more of them than it was trained on?',
      base: { trained: 'short', pictures: 2 },
      grid: { trained: ['short', 'long'], pictures: [2, 3, 4, 5, longDocuments.maxImages] },
      seeds: [0, 1, 2],
      secondsPerTrial: 60,
      recipe({ trained }) {
        if (trained === 'short') return {};
        const { 'i-gpt': stageII, sft: stageIII } = nano;
        return { changes: { 'i-gpt': longer(stageII.data, { documents: 'long-documents' }), sft: longer(stageIII.data, { 'instruct-documents': 'long-instruct-documents' }) } };
      },
      measurements: {
        placement: { run: async (subject, { pictures }, { sizes, signal }) => [await measureDreamTokens(subject, { pictures, count: Math.ceil(sizes.questions / 4), signal })] },
      },
    },
    options,
  );
