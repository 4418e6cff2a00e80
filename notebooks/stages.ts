// %% [markdown]
// # Three stages of training
//
// Alignment in two runs (stage I), generative pretraining on interleaved documents (stage II), instruction tuning (stage III): what trains in each, on what, and how the losses go.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { aqFrom, curves, nano, openJob, paper, released, stageCurves, stagesTable, validationCurves } from 'dreamllm';
const job = openJob(folder);

// %% [markdown]
// ## The recipes
//
// A stage is a value, so recipes can be put side by side. Here is where the paper's Table 13, the released configuration and nano differ.

// %%
aqFrom(stagesTable({ paper, released, nano }));

// %% [markdown]
// ## Stage I
//
// Comprehension trains one linear layer in front of the frozen language model; creation trains 16 queries and one linear layer behind it. Expect both to fall fast: little is learned, and it is easy.

// %%
const figures = stageCurves(job);
figures[0].figure;

// %%
figures[1].figure;

// %% [markdown]
// ## Stages II and III
//
// Now the language model trains too, on both losses at once; the diffusion loss counts ten times.

// %%
figures[2].figure;

// %%
figures[3].figure;

// %% [markdown]
// ## Is the image loss learning?
//
// A diffusion loss is noisy: most of it is the noise drawn. At noise and time steps that never change, what is left is the model.

// %%
validationCurves(job);
