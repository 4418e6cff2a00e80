// %% [markdown]
// # Alignment (stage I)
//
// A language model that never saw a picture, a CLIP and a diffusion model that never met it. Stage I joins them with as little as possible: one linear layer in
// front for reading, dream queries and one linear layer behind for drawing, in two separate trainings. Everything else is frozen.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { aqFrom, describeJob, jobPicture, lossSentences, metrics, nano, openJob, openStage, paper, promptEffect, released, stageCurves, stagesTable, trainedParts, useBackend, validationCurves } from 'dreamllm';
import { md } from 'dreamllm/notebook';
await useBackend();
const job = openJob(folder);
describeJob(job);

// %% [markdown]
// ## The recipe
//
// A stage is a value, so recipes can be put side by side. Expect data and batch sizes to differ by orders of magnitude, and what trains to be the same.

// %%
const recipes = stagesTable({ paper, released, nano }).filter(({ stage }) => stage.startsWith('alignment'));
aqFrom(recipes);

// %% [markdown]
// The table holds only the settings in which the three differ: freezing, losses and schedule shape are not among them. Two choices of nano are its own, since hundreds of
// steps must do what tens of thousands do in the paper: the length, and that the new token rows are kept for stage II.
//
// What trains is a small share of the model:

// %%
aqFrom([...trainedParts('alignment-comprehension'), ...trainedParts('alignment-creation')]);

// %% [markdown]
// ## Reading: captions behind pictures
//
// The frozen language model is asked for the caption of a picture that it gets through the new linear layer. Expect a fast fall: at first the layer learns that captions follow,
// later what they say.

// %%
const figures = stageCurves(job);
figures[0].figure;

// %%
md`${lossSentences(job, 'alignment-comprehension').join('\n\n')}`;

// %% [markdown]
// ## Drawing: queries in front of the U-Net
//
// Now the caption is given, and the states at the dream queries must tell the frozen U-Net what to denoise towards. The raw loss is mostly the noise that was drawn, so expect
// little of it to see in the curve.

// %%
figures[1].figure;

// %%
md`${lossSentences(job, 'alignment-creation').join('\n\n')}`;

// %% [markdown]
// At noise and time steps that never change, what is left of the curve is the model:

// %%
validationCurves(job, ['alignment-creation']);

// %% [markdown]
// ## Does the prompt arrive?
//
// A falling loss does not say so: the queries may only have learned what the average picture looks like. The test is the same noise with the prompt and with an empty one,
// over 32 held-out pictures.

// %%
const subject = openStage(job, 'alignment-creation');
const loss = await metrics.nanoMetrics.measurePromptLoss(subject, { count: 32 });
subject.dispose();
md`${promptEffect(loss, { higherIsBetter: false })}`;

// %% [markdown]
// And as pictures, for the eight fixed held-out prompts: the true pictures above, what stage I draws below. A row of similar objects below different ones means that the prompt
// did not arrive, whatever the loss says.

// %%
jobPicture(job, 'pictures/stage-alignment-creation.png');

// %%
md`${job.result.samples!.prompts.map((prompt, i) => `${i + 1}. ${prompt}`).join('\n')}`;
