// %% [markdown]
// # Creation
//
// The language model's states at 16 dream queries are all that the frozen U-Net hears of a caption. This chapter looks at what it draws, and at guidance.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { guidanceFigure, jobPicture, measurementTable, openJob } from 'dreamllm';
const job = openJob(folder);

// %% [markdown]
// ## Held-out prompts
//
// True pictures above, drawn ones below (DDIM, 20 steps, guidance 2).

// %%
jobPicture(job, 'pictures/joint.png');

// %% [markdown]
// ## Does the prompt help?
//
// The same noise with the prompt and with the empty prompt, pair by pair. `diffusion-loss` is at fixed noise and time steps.

// %%
const [score, loss] = ['clip-score', 'diffusion-loss'].map((name) => job.result.arms.joint.creation.find(({ metric }) => metric === name)!.details as { prompted: number; unprompted: number; p: number });
({ clipScore: { prompted: score.prompted, unprompted: score.unprompted, p: score.p }, diffusionLoss: { prompted: loss.prompted, unprompted: loss.unprompted, p: loss.p } });

// %% [markdown]
// ## Guidance
//
// The released training never drops the condition, so guidance leads away from an empty prompt that was never trained as such. The paper finds its best FID at 2.

// %%
guidanceFigure(job);

// %%
measurementTable(job, 'fid', 'kid', 'kid of real pictures', 'identification', 'clip-score');
