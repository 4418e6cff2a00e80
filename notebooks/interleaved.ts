// %% [markdown]
// # Interleaved documents
//
// The model writes; when it emits `<dream_start>` it draws a picture from everything before it, reads the picture back and goes on writing. Nothing tells it where.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { aqFrom, describeJob, documentHtml, documentMatch, find, measurementTable, openJob, openStage, stated, sweepFigure, useBackend, writeDocument } from 'dreamllm';
import { html, md } from 'dreamllm/notebook';
await useBackend();
const job = openJob(folder);
describeJob(job);

// %% [markdown]
// ## Written by the main job
//
// Three beginnings of documents. Expect a picture behind each sentence that names something to see, and an end after three or four.

// %%
const documents = job.result.use.documents;
aqFrom(documents.map(({ prompt, parts }) => ({ prompt, texts: parts.filter((part) => 'text' in part).length, pictures: parts.filter((part) => 'picture' in part).length })));

// %%
html`${html(documentHtml(job, 0))}`;

// %%
html`${html(documentHtml(job, 1))}`;

// %%
html`${html(documentHtml(job, 2))}`;

// %% [markdown]
// A request in the conversation format, as stage III has them.

// %%
html`${html(documentHtml(job, 3))}`;

// %% [markdown]
// ## Do pictures and text belong together?
//
// Each drawn picture with the text right before it, against the texts before the other pictures, by the foundation's CLIP. Few pictures, so only a clear difference can show.

// %%
const match = await documentMatch(job);
md`${match.sentence}`;

// %% [markdown]
// ## Placement
//
// On held-out documents: at each place where a sentence ends, does the model want a picture exactly where the document has one?

// %%
measurementTable(job, 'dream-token-f1');

// %%
const placement = find(job.result.arms.joint.comprehension, 'dream-token-f1');
const { precision, recall, documents: count } = placement.details as { precision: number; recall: number; documents: number };
md`Joint: F1 ${stated(placement)} pictures in ${count} documents; of the places where it wants a picture ${(100 * precision).toFixed(0)} % have one, of the pictures it wants ${(100 * recall).toFixed(0)} %.`;

// %% [markdown]
// Documents with more pictures than those of training, where the sweep has been run:

// %%
sweepFigure('many-images', 'placement');

// %% [markdown]
// ## Live
//
// One more document, written while you wait, with one picture that is forced after two words whether the model wants it or not. The forced one is marked.

// %%
const subject = openStage(job);
const parts = await writeDocument(subject.model, subject.tokenizer, 'a story on green paper.', { seed: 5, steps: 12, guidanceScale: 2, temperature: 0.5, forceImageAt: [2], maxImages: 3, maxTokens: 200 });
subject.dispose();
aqFrom(parts.map((part) => (part.kind === 'text' ? { kind: 'text', content: part.text } : { kind: part.forced ? 'picture, forced' : 'picture', content: `seed ${part.seed}` })));

// %%
import { contactSheet } from 'dreamllm';
contactSheet(parts.flatMap((part) => (part.kind === 'image' ? [part.image] : [])), { columns: 3, scale: 3 });
