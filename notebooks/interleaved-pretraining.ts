// %% [markdown]
// # Interleaved pretraining (stage II)
//
// The language model opens up. It reads and writes documents of sentences and pictures, with both losses at once: the next token, also `<dream_start>` where a picture
// belongs, and the noise of each picture that it should draw from all that stands before it.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { aqFrom, describeJob, documentAt, jobPicture, lossSentences, metrics, nano, openJob, openStage, paper, promptEffect, released, stageCurves, stagesTable, stated, trainedParts, useBackend, validationCurves } from 'dreamllm';
import { md } from 'dreamllm/notebook';
await useBackend();
const job = openJob(folder);
describeJob(job);

// %% [markdown]
// ## What is read
//
// A document of the emoji world in the shape of MMC4. Expect a sentence before each picture that says all that the picture shows.

// %%
const { text_list, image_info } = documentAt(0, 3, { split: 'train' });
aqFrom(text_list.map((text, i) => ({ text, picture: image_info.find(({ matched_text_index }) => matched_text_index === i)?.image_name ?? '' })));

// %% [markdown]
// A picture's name is its recipe: kind of scene, ground, artwork and place. Each picture stands twice in the sequence: as a dream block that must be drawn, and as an image block
// that is read, so that later text and pictures can refer to it.

// %%
import { contactSheet, loadImage } from 'dreamllm';
contactSheet(image_info.map(({ image_name }) => ({ width: 32, height: 32, data: loadImage(image_name, 32) })), { columns: 4, scale: 3 });

// %% [markdown]
// ## The recipe
//
// Expect the same parts to train in all three, the language model among them, and a higher learning rate in nano, which has a hundredth of the steps.

// %%
aqFrom(stagesTable({ paper, released, nano }).filter(({ stage }) => stage === 'i-gpt'));

// %%
aqFrom(trainedParts('i-gpt'));

// %% [markdown]
// Nearly all that trains is the language model; CLIP, the autoencoder and the U-Net stay frozen to the end, as in the paper.
//
// ## The losses
//
// Expect the language loss to fall well below that of stage I, for now the language model itself adapts. The diffusion loss counts ten times in the sum.

// %%
stageCurves(job)[2].figure;

// %%
md`${lossSentences(job, 'i-gpt').join('\n\n')}`;

// %%
validationCurves(job, ['alignment-creation', 'i-gpt']);

// %% [markdown]
// The two curves are on the same held-out pictures and noise, so the second should begin about where the first ended.
//
// ## What it can do now
//
// After each sentence of held-out documents: does the model want a picture exactly where there is one? And does the prompt reach the picture?

// %%
const subject = openStage(job, 'i-gpt');
const placement = await metrics.nanoMetrics.measureDreamTokens(subject, { count: 12 });
const loss = await metrics.nanoMetrics.measurePromptLoss(subject, { count: 32 });
subject.dispose();
md`F1 of \`<dream_start>\` at ends of sentences: ${stated(placement)} pictures; ${promptEffect(loss, { higherIsBetter: false })}`;

// %% [markdown]
// The eight fixed prompts after this stage, true pictures above:

// %%
jobPicture(job, 'pictures/stage-i-gpt.png');
