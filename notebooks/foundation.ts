// %% [markdown]
// # The foundation
//
// DreamLLM starts from Vicuna, CLIP and Stable Diffusion. Nano starts from its own four small models, trained by `dreamllm foundation train` and committed
// under `data/foundation` with the curves of their training. This chapter looks at what they can do before DreamLLM is built on them.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { aqFrom, curves, foundationCurves, jobPicture, measurementTable, openJob } from 'dreamllm';
const job = openJob(folder);
const made = foundationCurves();
Object.keys(made);

// %% [markdown]
// ## Training
//
// Each loss falls and flattens; the learning rate ends at zero, so a curve that still falls at its end would ask for more steps.

// %%
curves('Autoencoder', 'step', 'loss', [made.vae.loss]);

// %%
curves('CLIP', 'step', 'contrastive loss', [made.clip.loss]);

// %%
curves('Language model', 'step', 'cross-entropy', [made.lm.loss]);

// %%
curves('Latent U-Net', 'step', 'mean squared error', [made.unet.loss]);

// %% [markdown]
// ## What it draws
//
// Held-out prompts; the true pictures above, below what the U-Net draws from CLIP's reading of the caption. The concepts were seen in training, these drawings of them were not.

// %%
jobPicture(job, 'pictures/foundation.png');

// %% [markdown]
// Numbers: the autoencoder's PSNR in dB, retrieval across artists (top-1 among as many objects as n), distances of drawn to real pictures. `untrained U-Net` is the floor.

// %%
const measured = measurementTable(job, 'psnr', 'clip-retrieval', 'fid', 'kid', 'identification', 'clip-score').objects() as { model: string }[];
aqFrom(measured.filter(({ model }) => ['autoencoder', 'CLIP', 'foundation U-Net', 'untrained U-Net'].includes(model)));
