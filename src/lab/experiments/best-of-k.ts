import { drawTestSet, type Drawings } from '../../eval/nano/creation.js';
import { embedPictures, embedTexts, type ClipJudge } from '../../eval/nano/clip.js';
import { fullSizes, measureDrawings, nanoClipJudge } from '../measure-nano.js';
import { nanoSweep, type NanoOptions } from './nano.js';

/** What choosing the best of k pictures by CLIP score does to FID and CLIP score: the paper's FID is of the best of 8. */
export const bestOfK = (options?: NanoOptions) =>
  nanoSweep<{ bestOf: number }>(
    {
      name: 'best-of-k',
      question: 'How much of FID and CLIP score comes from choosing the best of k pictures?',
      base: { bestOf: 1 },
      grid: { bestOf: [1, 2, 4, 8] },
      seeds: [0, 1, 2],
      secondsPerTrial: 200,
      measurements: {
        creation: {
          async run(subject, { bestOf }, { sizes = fullSizes, foundation, signal }) {
            const attempts: Drawings[] = [];
            for (let attempt = 0; attempt < bestOf; attempt++) attempts.push(await drawTestSet(subject, { count: sizes.pictures, attempt, signal }));
            const judge = nanoClipJudge(foundation);
            try {
              return await measureDrawings(await bestByClip(attempts, judge), foundation, signal);
            } finally {
              judge.dispose();
            }
          },
        },
      },
    },
    options,
  );

/** The picture of each prompt that its text likes best. The same CLIP also gives the score, which therefore flatters the choice. */
export async function bestByClip(attempts: readonly Drawings[], judge: ClipJudge): Promise<Drawings> {
  const [first] = attempts;
  if (attempts.length === 1) return first;
  const dim = judge.config.projectionSize;
  const texts = await embedTexts(judge, first.prompts);
  const pictures: Float32Array[] = [];
  for (const { drawn } of attempts) pictures.push(await embedPictures(judge, drawn));
  const score = (rows: Float32Array, i: number) => {
    let product = 0;
    for (let c = i * dim; c < (i + 1) * dim; c++) product += rows[c] * texts[c];
    return product;
  };
  const chosen = first.prompts.map((_, i) => indexOfLargest(pictures.map((rows) => score(rows, i))));
  return { ...first, drawn: chosen.map((attempt, i) => attempts[attempt].drawn[i]), protocol: { ...first.protocol, selection: `best-of-${attempts.length} by CLIP score` } };
}

export const indexOfLargest = (values: readonly number[]): number => values.indexOf(Math.max(...values));
