// %% [markdown]
// # The foundation
//
// DreamLLM starts from Vicuna, CLIP and Stable Diffusion. Nano starts from its own four small models, trained by `dreamllm foundation train` and committed
// under `data/foundation` with the curves of their training. This chapter looks at what they can do before DreamLLM is built on them.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { against, aqFrom, curves, describeJob, foundationCurves, jobPicture, measurementTable, openJob, stated, trend } from 'dreamllm';
import { md } from 'dreamllm/notebook';
const job = openJob(folder);
const made = foundationCurves();
describeJob(job);

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

// %%
md`${Object.entries(made).map(([part, { loss }]) => trend(`${part} (thinned curve):`, [...loss.y])).join('\n\n')}`;

// %% [markdown]
// ## What it draws
//
// Held-out prompts; the true pictures above, below what the U-Net draws from CLIP's reading of the caption. The concepts were seen in training, these drawings of them were not. Expect
// grounds and main colours to be right, and shapes to be vague.

// %%
jobPicture(job, 'pictures/foundation.png');

// %%
const { unet, untrained, autoencoder, retrieval } = job.result.foundation;
const [drawn, floor] = [unet, untrained].map((each) => each.find(({ metric }) => metric === 'identification')!);
md`${against('The right one of ten objects is nearest:', drawn, { name: 'the untrained U-Net', value: floor.value })} Autoencoder: ${stated(autoencoder)} dB.`;

// %% [markdown]
// ## What CLIP sees
//
// DreamLLM reads pictures through this CLIP, so what it does not tell apart no answer can. Captions say object, style and ground; the details ask for the object alone.

// %%
const { conceptByText, conceptByImages, conceptByPixels, chance } = retrieval.details as Record<'conceptByText' | 'conceptByImages' | 'conceptByPixels' | 'chance', number>;
md`${against('Caption of a picture in an unseen cell, top-1:', retrieval, { name: 'chance', value: chance })} The object alone: ${(100 * conceptByText).toFixed(1)} % by text, ${(100 * conceptByImages).toFixed(1)} % by pictures of other artists; raw pixels find ${(100 * conceptByPixels).toFixed(1)} %.`;

// %% [markdown]
// ## Every number
//
// The autoencoder's PSNR in dB, retrieval (top-1 among as many objects as n), distances of drawn to real pictures. `untrained U-Net` is the floor.

// %%
const measured = measurementTable(job, 'psnr', 'clip-retrieval', 'fid', 'kid', 'identification', 'clip-score').objects() as { model: string }[];
aqFrom(measured.filter(({ model }) => ['autoencoder', 'CLIP', 'foundation U-Net', 'untrained U-Net'].includes(model)));
