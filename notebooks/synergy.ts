// %% [markdown]
// # Synergy
//
// The paper's claim: learning to draw helps to read, and the other way round. The three arms here see the same records in the same order for as many updates, and differ by the losses that count. One seed: a difference is an observation.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { measurementTable, openJob, synergyFigures } from 'dreamllm';
const job = openJob(folder);
const [comprehension, creation] = synergyFigures(job);

// %% [markdown]
// ## Reading
//
// `creation-only` had no language loss after the foundation, so it has never seen the answer format: expect it at or below chance.

// %%
comprehension;

// %% [markdown]
// ## Drawing
//
// `comprehension-only` keeps the dream queries and the condition projector of stage I, but its language model moves on without them.

// %%
creation;

// %%
measurementTable(job, 'mmbench-circular', 'vqa-accuracy', 'fid', 'kid', 'clip-score');
