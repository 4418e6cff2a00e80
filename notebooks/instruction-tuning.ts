// %% [markdown]
// # Instruction tuning (stage III)
//
// The last stage teaches the form: questions and answers, multiple choice, requests to draw, documents on request. Before it the model can only go on with a text.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { answer, aqFrom, conversationAt, describeJob, jobPicture, lossSentences, metrics, nano, openJob, openStage, paper, questionAt, released, stageCurves, stagesTable, stated, sweepFigure, useBackend } from 'dreamllm';
import { loadImage } from 'dreamllm';
import { md } from 'dreamllm/notebook';
await useBackend();
const job = openJob(folder);
describeJob(job);

// %% [markdown]
// ## What is taught
//
// One conversation of each kind. Expect short answers, since nano's context is short; `<dream>` is a picture that the assistant draws.

// %%
const kinds = ['describe', 'detail', 'question', 'choice', 'draw', 'recolor'] as const;
const talks = kinds.map((kind) => conversationAt(0, 1, { split: 'train', conversationKinds: { [kind]: 1 } }));
aqFrom(talks.map(({ kind, conversations: [human, gpt] }) => ({ kind, human: human.value, gpt: gpt.value })));

// %% [markdown]
// ## The recipe
//
// Expect fewer samples than in stage II everywhere, and documents on request among them.

// %%
aqFrom(stagesTable({ paper, released, nano }).filter(({ stage }) => stage === 'sft'));

// %% [markdown]
// Answers and their ends are targets, questions are not.
//
// ## The losses
//
// Expect a drop within the first steps, when the form is learned, and a slow decline after it.

// %%
stageCurves(job)[3].figure;

// %%
md`${lossSentences(job, 'sft').join('\n\n')}`;

// %% [markdown]
// ## Before and after
//
// The same held-out questions, answered by the model of stage II and by that of stage III. Expect the first to go on writing as if in a document, and the second to answer in the
// asked form, right or wrong.

// %%
const asked = Array.from({ length: 8 }, (_, i) => questionAt(7, i, { split: 'test' }));
async function answers(stage: 'i-gpt' | 'sft') {
  const subject = openStage(job, stage);
  const texts: string[] = [];
  for (const { image, question } of asked) {
    texts.push(await answer(subject.model, subject.tokenizer, [{ width: 32, height: 32, data: loadImage(image, 32) }], `${question} answer briefly.`, { maxNewTokens: 12 }));
  }
  const accuracy = await metrics.nanoMetrics.measureOpenQuestions(subject, { count: 48 });
  return subject.dispose(), { texts, accuracy };
}

// %%
const [before, after] = [await answers('i-gpt'), await answers('sft')];
aqFrom(asked.map(({ question, answer: expected }, i) => ({ question, expected, 'after stage II': before.texts[i], 'after stage III': after.texts[i], right: after.texts[i] === expected })));

// %%
md`Open questions, VQA accuracy: ${stated(before.accuracy)} after stage II, ${stated(after.accuracy)} after stage III (48 questions; the record has ${stated(job.result.arms.joint.comprehension.find(({ metric }) => metric === 'vqa-accuracy')!)}).`;

// %% [markdown]
// What the language model loses of its English on the way, where the sweep has been run:

// %%
sweepFigure('language-retention', 'definitions');

// %% [markdown]
// ## Drawing after it
//
// Most of this stage is text, so it could undo what creation has learned. The eight fixed prompts, true pictures above:

// %%
jobPicture(job, 'pictures/stage-sft.png');
