// %% [markdown]
// # A tour of DreamLLM at nano size
//
// DreamLLM (arXiv 2309.11499) is one model that reads pictures and draws them. This notebook walks through the small one that `npm start` trains:
// its data, its layout of a document, one training step, and what it does in the end. It reads the finished job and trains nothing but a toy.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { describeJob, documentAt, openJob, preset, renderScene, useBackend } from 'dreamllm';
const { engine, reasons } = await useBackend();
const job = openJob(folder);
[describeJob(job), `Computing on ${engine}: ${reasons.at(-1)}`];

// %% [markdown]
// ## Data
//
// Every picture is drawn from a seed: emoji by five artists, silhouettes in eight inks, and scenes composed of them. Expect single objects, counts,
// pairs and sizes on coloured grounds.

// %%
import { contactSheet, pairAt } from 'dreamllm';
const pairs = Array.from({ length: 16 }, (_, i) => pairAt(0, i, { split: 'train' }));
contactSheet(pairs.map(({ scene }) => ({ width: 32, height: 32, data: renderScene(scene, 32) })), { columns: 8, scale: 3 });

// %%
pairs.slice(0, 6).map(({ caption }) => caption);

// %% [markdown]
// An interleaved document is what stage II learns from: sentences, each followed by its picture.

// %%
const { text_list, image_info } = documentAt(0, 1, { split: 'train' });
text_list.map((text, i) => `${text}${image_info.some((image) => image.matched_text_index === i) ? '  <picture>' : ''}`);

// %% [markdown]
// ## The model
//
// The same functions make the paper's model and the small one. The full one needs a checkpoint; its sizes do not.

// %%
import { countParameters, dreamSpec, presetNames } from 'dreamllm';
Object.fromEntries(presetNames.map((name) => [name, countParameters(dreamSpec(preset(name)))]));

// %% [markdown]
// ## A training, live
//
// `micro` is a random-weight model for tests: 24 steps of aligning dream queries take seconds. Expect the diffusion loss to fall a little from about 1,
// the loss of predicting nothing.

// %%
import { lossCurve, nano, stageSettings, trainStage, trend } from 'dreamllm';
import { mkdtempSync } from 'node:fs';
import { md } from 'dreamllm/notebook';
const losses: number[] = [];
const settings = stageSettings({ ...nano['alignment-creation'], maxTokens: 128, microBatchSize: 4, length: { steps: 24 } });
const out = `${mkdtempSync('/tmp/dreamllm-tour-')}/run`;
const { artefact } = await trainStage({ preset: 'micro', settings, out, validate: false, onStep: (_, { loss }) => losses.push(loss) });
lossCurve('Micro: aligning dream queries', [{ name: 'diffusion loss', steps: losses.map((_, i) => i), values: losses }]);

// %%
md`${trend('Diffusion loss', losses)}`;

// %% [markdown]
// ## What the trained model does
//
// The nano model of the finished job: held-out prompts, true pictures above, drawn ones below.

// %%
import { jobPicture } from 'dreamllm';
jobPicture(job, 'pictures/joint.png');

// %% [markdown]
// The first held-out questions, right or wrong:

// %%
import { aqFrom } from 'dreamllm';
aqFrom(job.result.use.answers.map(({ question, answer, expected }) => ({ question, answer, expected, right: answer === expected })));

// %% [markdown]
// The other chapters take this apart: foundation, alignment, interleaved-pretraining and instruction-tuning follow the training; comprehension, creation, interleaved, synergy,
// dream-queries and image-to-image look at the result; paper-tables sets it beside the paper.
