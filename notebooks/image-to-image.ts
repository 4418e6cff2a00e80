// %% [markdown]
// # Image to image, in context
//
// The condition of a picture is all that stands before it, pictures included. So a request can be about a given picture ("the same in red"), and an example can stand in front. Of
// this, stage III has a few recolouring requests and nothing else.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { contactSheet, contextAnswer, contextRequestAt, describeJob, draw, metrics, openJob, openStage, pictureDistance, renderScene, sweepFigure, useBackend } from 'dreamllm';
import { md } from 'dreamllm/notebook';
await useBackend();
const job = openJob(folder);
const subject = openStage(job);
const { drawInContext } = metrics.nanoMetrics;
describeJob(job);

// %% [markdown]
// ## The same, in another colour
//
// Held-out requests about outlines: given, wanted, drawn; then from the same request and noise with another picture given, and with none. Shapes and inks were seen in training, these
// combinations were not. Expect ground and ink to follow the request more easily than the shape follows the picture; where the last rows are like the third, the given picture was not used.

// %%
const how = { count: 6, steps: 15 };
const [own, other, none] = [await drawInContext(subject, 'recolor', 'own', how), await drawInContext(subject, 'recolor', 'other', how), await drawInContext(subject, 'recolor', 'none', how)];
const requests = own.prompts.map((_, i) => contextRequestAt('recolor', Number(own.protocol.testSeed), i, { split: 'test' }));
const given = requests.map(({ source }) => ({ width: 32, height: 32, data: renderScene(source, 32) }));
md`${own.prompts.map((prompt, i) => `${i + 1}. ${prompt}`).join('\n')}`;

// %%
const sheet = [given, own.real, own.drawn, other.drawn, none.drawn];
contactSheet(sheet.flat(), { columns: 6, scale: 3, labels: ['given', 'wanted', 'drawn', 'other given', 'none given'].flatMap((label) => Array<string>(6).fill(label)) });

// %% [markdown]
// Two numbers for what the eye sees: is a drawing nearer to its own wanted picture than to those of the other requests, and does it change when another picture is given?

// %%
const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const toOwn = mean(own.drawn.map((image, i) => pictureDistance(image, own.real[i])));
const toOthers = mean(own.drawn.flatMap((image, i) => own.real.filter((_, j) => j !== i).map((real) => pictureDistance(image, real))));
const moved = mean(own.drawn.map((image, i) => pictureDistance(image, other.drawn[i])));
md`Root mean squared difference, in bytes: ${toOwn.toFixed(1)} to the wanted picture, ${toOthers.toFixed(1)} to those of other requests. Giving another picture moves a drawing by ${moved.toFixed(1)}.`;

// %% [markdown]
// ## The same object elsewhere
//
// Subject-driven: a painted object, wanted on another ground. Nothing but the given picture says what it is, and no training had such a request. Expect the ground at best.

// %%
const moving = await drawInContext(subject, 'subject', 'own', how);
const sources = moving.prompts.map((_, i) => contextRequestAt('subject', Number(moving.protocol.testSeed), i, { split: 'test' }).source);
const shown = sources.map((scene) => ({ width: 32, height: 32, data: renderScene(scene, 32) }));
contactSheet([...shown, ...moving.real, ...moving.drawn], { columns: 6, scale: 3, labels: ['given', 'wanted', 'drawn'].flatMap((label) => Array<string>(6).fill(label)) });

// %%
const nearest = moving.drawn.filter((image, i) => moving.real.every((real) => pictureDistance(image, moving.real[i]) <= pictureDistance(image, real))).length;
md`${nearest} of ${moving.drawn.length} drawings are nearest to their own wanted picture (chance 1; ground and object count alike).`;

// %% [markdown]
// ## An example in front
//
// Another edit stands before the request as an example: its picture, its request and its result, then the picture and the request that are meant. No conversation of stage III holds two
// requests to draw, so expect less than above; it is here to be seen, not to be claimed.

// %%
const inContext = requests.map(({ request }, i) => {
  const j = (i + 1) % requests.length;
  return [given[j], ` ${requests[j].request} ${contextAnswer} `, own.real[j], ' ', given[i], ` ${request} ${contextAnswer} `];
});
const oneShot = await draw(subject.model, subject.tokenizer, inContext, requests.map((_, i) => i), { steps: 15, guidanceScale: 2 });
subject.dispose();
contactSheet([...given, ...own.real, ...oneShot], { columns: 6, scale: 3, labels: ['given', 'wanted', 'drawn'].flatMap((label) => Array<string>(6).fill(label)) });

// %%
const distance = mean(own.real.map((real, i) => pictureDistance(oneShot[i], real)));
md`With one example in context: ${distance.toFixed(1)} to the wanted picture, against ${toOwn.toFixed(1)} for the plain request (6 pictures each, other noise; a difference of a few bytes is nothing).`;

// %% [markdown]
// ## Over seeds
//
// Whether the subject is kept when its picture is given, another one or none, and after training with such requests: from the sweep's records, where it has been run.

// %%
sweepFigure('in-context', 'recolor-identification');

// %%
sweepFigure('in-context', 'subject-identification');
