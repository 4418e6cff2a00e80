// %% [markdown]
// # Comprehension
//
// What the finished model answers about held-out pictures, and how much of it needs the picture. The benchmark has the shape of MMBench: 20 abilities, multiple choice, every question asked with its options rotated.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { abilityRadar, measurementTable, openJob } from 'dreamllm';
const job = openJob(folder);

// %% [markdown]
// ## Accuracy
//
// `picture: false` is the blind baseline: the same questions without the picture. What stands above it was seen.

// %%
measurementTable(job, 'mmbench-circular', 'vqa-accuracy', 'cider-d', 'pope-accuracy', 'dream-token-f1');

// %% [markdown]
// ## Abilities
//
// A question counts only when every rotation is right, so the axes start near zero for a model that guesses.

// %%
abilityRadar(job);

// %% [markdown]
// ## Answers
//
// The first held-out questions, right or wrong.

// %%
job.result.use.answers.map(({ question, answer, expected }) => ({ question, answer, expected }));

// %%
job.result.use.captions.map(({ caption, expected }) => ({ caption, expected }));
