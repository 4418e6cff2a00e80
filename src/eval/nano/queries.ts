import * as tf from '@tensorflow/tfjs';
import { deriveSeed } from '../../core/random.js';
import { caption } from '../../data/captions.js';
import { latentSize } from '../../dreamllm/config.js';
import { drawFrom, queryStates } from '../../dreamllm/create.js';
import { projectCondition } from '../../dreamllm/model.js';
import { QueryAttention } from '../../dreamllm/query-attention.js';
import { effectiveRank } from '../effective-rank.js';
import { measurement, type Measurement, type Protocol } from '../protocol.js';
import { estimate, mean, pairedTest } from '../statistics.js';
import { defaultTestSet } from './comprehension.js';
import { evaluationScheduler, lossesUnder, testScenes, type CreationOptions } from './creation.js';
import type { Subject } from './subject.js';

const about = ({ modelScale, model: { config } }: Subject, { testSet = defaultTestSet }: CreationOptions, size: number): Protocol => ({
  dataset: 'emoji world, single objects', split: `${testSet.split}, new ${testSet.axis}`, testSeed: testSet.seed, size, captionPolicy: 'full caption', modelScale, queries: config.numDreamQueries,
});

/**
 * How many directions the conditions take: the effective rank of the queries' conditions of one prompt (mean over prompts), that of whole conditions across
 * prompts (centred), and the share of the conditions' variance that the prompt makes; the rest tells queries apart, whatever the prompt.
 */
export async function measureConditionRank(subject: Subject, options: CreationOptions = {}): Promise<Measurement[]> {
  const { model, tokenizer } = subject;
  const { count = 64, testSet = defaultTestSet } = options;
  const prompts = testScenes(testSet, count).map((scene) => caption(scene, 'full'));
  const states = await queryStates(model, tokenizer, prompts);
  const condition = tf.tidy(() => projectCondition(model.plugins, states));
  const values = (await condition.array()) as number[][][]; // [prompts, queries, dim]
  tf.dispose([states, condition]);
  const within = values.map(effectiveRank);
  const meanOf = (rows: readonly number[][]) => rows[0].map((_, c) => mean(rows.map((row) => row[c])));
  const flat = values.map((rows) => rows.flat());
  const centre = meanOf(flat);
  const across = effectiveRank(flat.map((row) => row.map((x, c) => x - centre[c])));
  const squares = (rows: readonly number[][], from: readonly number[]) => rows.reduce((sum, row) => sum + row.reduce((s, x, c) => s + (x - from[c]) ** 2, 0), 0);
  const all = values.flat();
  const byPrompt = squares(flat, centre);
  const total = squares(all, meanOf(all));
  const protocol = about(subject, options, count);
  const { ci } = estimate(within, 'prompts');
  return [
    measurement({ metric: 'effective-rank', value: mean(within), n: count, ci, protocol: { ...protocol, of: 'conditions of one prompt' } }),
    measurement({ metric: 'effective-rank-across-prompts', value: across, n: count, protocol: { ...protocol, of: 'whole conditions, centred' } }),
    measurement({ metric: 'prompt-share', value: total > 0 ? byPrompt / total : 0, n: count, protocol: { ...protocol, formula: 'squares within a query over all squares' } }),
  ];
}

export const ablations = ['zero', 'shuffle'] as const;

/**
 * What each query is worth: the rise of the diffusion loss at fixed noise when its condition is set to zero, or taken from another prompt. The value is
 * the mean rise over queries; the details have each query's, and that of doing so to all queries at once.
 */
export async function measureQueryAblation(subject: Subject, options: CreationOptions = {}): Promise<Measurement<{ intact: number; all: number; rise: number[]; p: number[] }>[]> {
  const { numDreamQueries: queries } = subject.model.config;
  const names = Array.from({ length: queries }, (_, query) => query);
  const { losses, protocol } = await lossesUnder(subject, options, (condition) => {
    const images = condition.shape[0];
    const other = () => tf.gather(condition, Array.from({ length: images }, (_, i) => (i + 1) % images));
    const replacement = { zero: () => tf.zerosLike(condition), shuffle: other };
    const mask = (query: number) => tf.oneHot(tf.tensor1d([query], 'int32'), queries).reshape([1, queries, 1]);
    return [
      ['intact', () => condition],
      ...ablations.flatMap((how) => [
        [`${how} all`, replacement[how]] as const,
        ...names.map((query) => [`${how} ${query}`, () => condition.mul(tf.sub(1, mask(query))).add<tf.Tensor3D>(replacement[how]().mul(mask(query)))] as const),
      ]),
    ];
  });
  const intact = losses.get('intact')!;
  return ablations.map((how) => {
    const tests = names.map((query) => pairedTest(intact, losses.get(`${how} ${query}`)!, 'pictures'));
    const perPicture = intact.map((value, i) => mean(names.map((query) => losses.get(`${how} ${query}`)![i])) - value);
    return measurement({
      metric: 'query-ablation', value: mean(perPicture), n: intact.length, ci: estimate(perPicture, 'pictures').ci, protocol: { ...protocol, how, queries },
      details: { intact: mean(intact), all: mean(losses.get(`${how} all`)!) - mean(intact), rise: tests.map(({ difference }) => difference), p: tests.map(({ p }) => p) },
    });
  });
}

/**
 * Where in the picture each query is looked at (Figure 6 of the paper): the U-Net's cross-attention averaged over heads, layers and time steps. `map-entropy`:
 * how evenly a query is looked at from all places, 1 being everywhere alike. `map-similarity`: correlation of a query's maps between prompts;
 * `map-overlap`: correlation of different queries' maps of one prompt. The details hold the mean map of each query.
 */
export async function measureQueryMaps(subject: Subject, options: CreationOptions = {}): Promise<Measurement<{ maps?: number[][][] }>[]> {
  const { model, tokenizer } = subject;
  const { count = 32, steps = 20, guidanceScale = 2, testSet = defaultTestSet, batchSize = 32, signal } = options;
  const { config } = model;
  const side = latentSize(config);
  const prompts = testScenes(testSet, count).map((scene) => caption(scene, 'full'));
  const negative = guidanceScale > 1 ? await queryStates(model, tokenizer, ['']) : undefined;
  const maps: number[][][] = []; // [prompts, queries, side · side]
  try {
    for (let start = 0; start < count; start += batchSize) {
      const rows = prompts.slice(start, start + batchSize);
      const states = await queryStates(model, tokenizer, rows);
      const attention = new QueryAttention(rows.length, side);
      try {
        const seeds = rows.map((_, i) => deriveSeed(testSet.seed, 'drawing', start + i));
        const drawn = await drawFrom(model, states, negative, seeds, { sampler: evaluationScheduler(config.sampler, steps), guidanceScale, signal, observer: attention.observer });
        drawn.dispose();
        maps.push(...(await attention.maps()).map((ofPrompt) => ofPrompt.map((map) => map.flat())));
      } finally {
        states.dispose();
        attention.dispose();
      }
    }
  } finally {
    negative?.dispose();
  }
  const queries = config.numDreamQueries;
  const entropies = maps.map((ofPrompt) => mean(ofPrompt.map((map) => entropy(map) / Math.log(map.length))));
  const neighbours = maps.map((ofPrompt, i) => mean(ofPrompt.map((map, query) => correlation(map, maps[(i + 1) % count][query]))));
  const overlaps = maps.map((ofPrompt) => mean(ofPrompt.map((map, query) => correlation(map, ofPrompt[(query + 1) % queries]))));
  const average = Array.from({ length: queries }, (_, query) => maps[0][query].map((_, place) => mean(maps.map((ofPrompt) => ofPrompt[query][place]))));
  const square = (map: readonly number[]) => Array.from({ length: side }, (_, y) => map.slice(y * side, (y + 1) * side).map((x) => Number(x.toFixed(4))));
  const protocol: Protocol = { ...about(subject, options, count), sampler: 'DDIM, eta 0', steps, guidanceScale, of: 'cross-attention, mean over heads, layers and steps' };
  const made = (metric: string, values: number[], details?: { maps: number[][][] }) =>
    measurement({ metric, value: mean(values), n: count, ...(count > 1 ? { ci: estimate(values, 'prompts').ci } : {}), protocol, ...(details ? { details } : {}) });
  return [made('map-entropy', entropies, { maps: average.map(square) }), made('map-similarity', neighbours), made('map-overlap', overlaps)];
}

function entropy(weights: readonly number[]): number {
  const total = weights.reduce((a, b) => a + b, 0);
  return -weights.reduce((sum, weight) => sum + (weight > 0 ? (weight / total) * Math.log(weight / total) : 0), 0);
}

/** Pearson's correlation; 0 where one side is constant. */
function correlation(a: readonly number[], b: readonly number[]): number {
  const [meanA, meanB] = [mean(a), mean(b)];
  let [product, squaresA, squaresB] = [0, 0, 0];
  a.forEach((x, i) => {
    product += (x - meanA) * (b[i] - meanB);
    squaresA += (x - meanA) ** 2;
    squaresB += (b[i] - meanB) ** 2;
  });
  return squaresA > 0 && squaresB > 0 ? product / Math.sqrt(squaresA * squaresB) : 0;
}
