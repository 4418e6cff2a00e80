// %% [markdown]
// # Image to image, in context
//
// The condition of a picture is all that stands before it, pictures included. So a request can be about a given picture ("the same in red"), and examples can stand before it,
// without any training for either beyond stage III's few recolouring requests.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { contactSheet, describeJob, draw, editOf, imageEdits, openJob, openStage, pictureDistance, useBackend } from 'dreamllm';
import { md } from 'dreamllm/notebook';
await useBackend();
const job = openJob(folder);
const { model, tokenizer, dispose } = openStage(job);
describeJob(job);

// %% [markdown]
// ## The same, otherwise
//
// Held-out requests: the given outline, the request, the wanted picture. Shapes and inks were seen in training, these combinations were not.

// %%
const edits = imageEdits(6);
md`${edits.map(({ request }, i) => `${i + 1}. ${request}`).join('\n')}`;

// %% [markdown]
// Below: given, wanted, drawn from request and picture, and drawn from the same request and noise with another picture given. Expect ground and ink to follow the request more easily
// than the shape follows the picture; if the last two rows are alike, the given picture was not used.

// %%
const options = { steps: 15, guidanceScale: 2 };
const seeds = edits.map((_, i) => i);
const others = edits.map(({ request, wanted }, i) => editOf(edits[(i + 1) % edits.length].given, request, wanted));
const drawn = await draw(model, tokenizer, edits.map(({ prompt }) => prompt), seeds, options);
const swapped = await draw(model, tokenizer, others.map(({ prompt }) => prompt), seeds, options);

// %%
const sheet = [edits.map(({ given }) => given), edits.map(({ wanted }) => wanted), drawn, swapped];
contactSheet(sheet.flat(), { columns: 6, scale: 3, labels: ['given', 'wanted', 'drawn', 'other given'].flatMap((label) => Array<string>(6).fill(label)) });

// %% [markdown]
// Two numbers for what the eye sees: is the drawing nearer to its own wanted picture than to those of the other requests, and does it change when another picture is given?

// %%
const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
const own = mean(edits.map(({ wanted }, i) => pictureDistance(drawn[i], wanted)));
const foreign = mean(edits.map((_, i) => mean(edits.filter((_, j) => j !== i).map(({ wanted }) => pictureDistance(drawn[i], wanted)))));
const moved = mean(edits.map((_, i) => pictureDistance(drawn[i], swapped[i])));
const nearest = edits.filter((_, i) => edits.every(({ wanted }, j) => pictureDistance(drawn[i], edits[i].wanted) <= pictureDistance(drawn[i], wanted))).length;
md`Root mean squared difference, in bytes: ${own.toFixed(1)} to the wanted picture, ${foreign.toFixed(1)} to those of other requests; ${nearest} of ${edits.length} drawings are nearest to their own (chance 1). Giving another picture moves a drawing by ${moved.toFixed(1)}.`;

// %% [markdown]
// ## Examples in context
//
// No conversation of stage III holds two requests to draw. Here another edit stands in front as an example: its picture, its request and its result, then the picture and
// the request that are meant. This was never trained, so expect less than above; it is here to be seen, not to be claimed.

// %%
const inContext = edits.map(({ given, request }, i) => {
  const example = edits[(i + 1) % edits.length];
  return [example.given, ` ${example.request} `, example.wanted, ' ', given, ` ${request} `];
});
const shown = await draw(model, tokenizer, inContext, seeds, options);
const rows = [edits.map(({ given }) => given), edits.map(({ wanted }) => wanted), shown];
contactSheet(rows.flat(), { columns: 6, scale: 3, labels: ['given', 'wanted', 'drawn'].flatMap((label) => Array<string>(6).fill(label)) });

// %%
const distance = mean(edits.map(({ wanted }, i) => pictureDistance(shown[i], wanted)));
dispose();
md`With one example in context: ${distance.toFixed(1)} to the wanted picture, against ${own.toFixed(1)} for the plain request (6 pictures each; a difference of a few bytes is noise).`;
