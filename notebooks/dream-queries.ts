// %% [markdown]
// # Dream queries
//
// The only bridge from language to pictures: learned embeddings behind `<dream_start>`, whose states condition the U-Net in place of a text encoder's. How many are needed,
// what do they carry, and which part of a picture looks at which?

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import * as tf from '@tensorflow/tfjs';
import { contactSheet, describeJob, drawFrom, greyMaps, namedSampler, openJob, openStage, paperTable, pictureDistance, QueryAttention, queryStates, sweepFigure, toImages, useBackend } from 'dreamllm';
import { md } from 'dreamllm/notebook';
await useBackend();
const job = openJob(folder);
const subject = openStage(job);
describeJob(job);

// %% [markdown]
// ## How many?
//
// The paper's Table 9a: 64 queries are best, fewer carry less, and more take the context away from documents.

// %%
paperTable('table9a_dream_query_count').select('benchmark', 'metric', 'value', 'confidence');

// %% [markdown]
// Nano has 16 for 320 positions. The same question at its size, a whole training a point, where it has been run:

// %%
sweepFigure('dream-queries', 'fid');

// %% [markdown]
// ## What do they carry?
//
// The states at the queries for four prompts and the empty one. If the prompt arrives, states of different prompts differ more than a little: a cosine near 1 between prompts means
// that the U-Net is told nearly the same each time.

// %%
const prompts = ['a red apple on a white background', 'a dog on a green background', 'a rocket on a black background', 'a pizza on a blue background'];
const states = await queryStates(subject.model, subject.tokenizer, [...prompts, '']);
const cosines = tf.tidy(() => {
  const flat = states.sub(states.mean([0, 1], true)).reshape([prompts.length + 1, -1]);
  const unit = flat.div<tf.Tensor2D>(flat.norm('euclidean', 1, true));
  return tf.matMul(unit, unit, false, true).arraySync() as number[][];
});
cosines.map((row) => row.map((value) => Number(value.toFixed(2))));

// %%
const off = cosines.flatMap((row, i) => row.filter((_, j) => j > i));
md`Rows and columns are the prompts above, the last the empty one; cosines of all query states together, less their common mean. Between different prompts they lie between ${Math.min(...off).toFixed(2)} and ${Math.max(...off).toFixed(2)}.`;

// %% [markdown]
// ## Which queries matter?
//
// The same noise, with the states of all queries, of the first half, of the second half and of none; the others are replaced by those of the empty prompt. Expect the rows to go
// from the prompt's picture to an unprompted one, if the prompt arrives at all.

// %%
const count = subject.model.config.numDreamQueries;
const empty = tf.tidy(() => tf.tile(states.slice([4], [1]), [4, 1, 1]) as tf.Tensor3D);
const kept = [[0, count], [0, count / 2], [count / 2, count], [0, 0]].map(([from, to]) => tf.tidy(() => {
  const mask = tf.tensor3d(Array.from({ length: count }, (_, i) => (i >= from && i < to ? 1 : 0)), [1, count, 1]);
  return states.slice([0], [4]).mul(mask).add<tf.Tensor3D>(empty.mul(tf.scalar(1).sub(mask)));
}));
const rows = tf.tidy(() => tf.concat(kept, 0));

// %%
const quick = { sampler: namedSampler(subject.model.config, 'ddim', 12), guidanceScale: 1 };
const drawn = await drawFrom(subject.model, rows, undefined, kept.flatMap(() => [0, 1, 2, 3]), quick);
const images = await toImages(drawn);
contactSheet(images, { columns: 4, scale: 3, labels: ['all', 'first half', 'second half', 'none'].flatMap((label) => Array<string>(4).fill(label)) });

// %%
const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const far = [1, 2, 3].map((row) => mean([0, 1, 2, 3].map((i) => pictureDistance(images[i], images[4 * row + i]))).toFixed(1));
md`Root mean squared difference (bytes) to the picture with all queries: ${far[0]} with the first half alone, ${far[1]} with the second half alone, ${far[2]} with none. Equal pictures would have 0.`;

// %% [markdown]
// The same over stages and seeds, query by query, where the sweep has been run:

// %%
sweepFigure('query-microscope', 'ablation');

// %% [markdown]
// ## Where do they act?
//
// The U-Net's own cross-attention, averaged over heads, layers and steps (Figure 6 of the paper), for the first prompt: one map a query, white where a position looks at it most.
// Expect some queries to take the object and others the ground.

// %%
const attention = new QueryAttention(1, 8);
const one = states.slice([0], [1]);
(await drawFrom(subject.model, one, undefined, [0], { ...quick, observer: attention.observer })).dispose();
const [maps] = await attention.maps();
contactSheet(greyMaps(maps), { columns: 8, scale: 8, labels: maps.map((_, i) => `query ${i}`) });

// %%
const spread = maps.map((map) => Math.max(...map.flat()) - Math.min(...map.flat()));
const share = maps.map((map) => mean(map.flat()));
tf.dispose([states, empty, rows, drawn, one, ...kept]);
subject.dispose(), attention.dispose();
md`An even look would give each query ${(1 / count).toFixed(3)} at every position. Means go from ${Math.min(...share).toFixed(3)} to ${Math.max(...share).toFixed(3)}; within one map the difference between the most and the least is at most ${Math.max(...spread).toFixed(3)}.`;
