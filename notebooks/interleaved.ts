// %% [markdown]
// # Interleaved documents
//
// The model writes; when it emits `<dream_start>` it draws a picture from everything before it, reads the picture back and goes on writing. Nothing tells it where.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { documentHtml, measurementTable, openJob } from 'dreamllm';
import { html } from 'dreamllm/notebook';
const job = openJob(folder);
const documents = job.result.use.documents;
documents.map(({ prompt, parts }) => ({ prompt, pictures: parts.filter((part) => 'picture' in part).length }));

// %%
html`${documentHtml(job, 0)}`;

// %%
html`${documentHtml(job, 1)}`;

// %%
html`${documentHtml(job, 2)}`;

// %% [markdown]
// A request in the conversation format, as stage III has them.

// %%
html`${documentHtml(job, 3)}`;

// %% [markdown]
// ## Placement
//
// On held-out documents: at each place where a sentence ends, does the model want a picture exactly where the document has one?

// %%
measurementTable(job, 'dream-token-f1');
