// %% [markdown]
// # Comprehension
//
// What the finished model answers about held-out pictures, and how much of it needs the picture. The benchmark has the shape of MMBench: 20 abilities, multiple choice, every
// question asked with its options rotated.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { abilityBars, abilityRadar, against, aqFrom, bars, describeJob, find, measurementTable, metrics, openJob, openStage, stated, sweepFigure, useBackend, vanilla } from 'dreamllm';
import { contactSheet, loadImage, questionAt } from 'dreamllm';
import { md } from 'dreamllm/notebook';
await useBackend();
const job = openJob(folder);
describeJob(job);

// %% [markdown]
// ## Accuracy
//
// `picture: false` is the blind baseline: the same questions without the picture. What stands above it was seen. The option texts alone give 27.8 % where chance is 26.8 %
// (experiments/LOG.md), so expect the blind model a little above a quarter.

// %%
measurementTable(job, 'mmbench-circular', 'vqa-accuracy', 'cider-d', 'pope-accuracy', 'dream-token-f1');

// %%
const joint = job.result.arms.joint.comprehension;
const [seen, blind] = [true, false].map((picture) => vanilla(find(joint, 'mmbench-circular', { matcher: 'log-likelihood of the options', picture })));
const pope = joint.filter(({ metric }) => metric === 'pope-accuracy').map((each) => against(`POPE, ${String(each.protocol.dataset)}:`, each, { name: 'a coin', value: 0.5 }));
md`${[against('Multiple choice, first rotation:', seen, { name: 'the model without the picture', value: blind.value }), ...pope].join('\n\n')}`;

// %% [markdown]
// ## Abilities
//
// A question counts only when every rotation is right, so the axes start near zero for a model that guesses. Expect what ground and colour decide to come before what needs
// an object's name.

// %%
abilityRadar(job);

// %% [markdown]
// The same with the 95 % intervals that so few questions an ability have; a pair of bars whose whiskers overlap says nothing.

// %%
abilityBars(job);

// %% [markdown]
// ## Curves
//
// Multiple choice after stage II and after stage III, on a small set of its own (one question an ability). The answer format is taught in stage III, so expect stage II at chance.

// %%
const stages = ['i-gpt', 'sft'] as const;
const choice = [];
for (const name of stages) {
  const subject = openStage(job, name);
  choice.push(await metrics.nanoMetrics.measureMultipleChoice(subject, { perAbility: 1 }));
  subject.dispose();
}

// %%
const bar = (picture: 'likelihood' | 'blind') => choice.map((measured, i) => ({ label: `after ${stages[i]}`, value: vanilla(measured[picture]).value, ci: [vanilla(measured[picture]).ci!.low, vanilla(measured[picture]).ci!.high] as const }));
bars('Multiple choice, first rotation', 'accuracy', [{ name: 'with the picture', bars: bar('likelihood') }, { name: 'without it', bars: bar('blind') }], { chance: 0.268 });

// %% [markdown]
// Against the length of stage III, the dose of creation data and the share of wrong captions, and the abilities of each arm over seeds: from the sweeps' records, where they have been run.

// %%
sweepFigure('training-length', 'multiple-choice');

// %%
sweepFigure('synergy', 'abilities');

// %%
sweepFigure('comprehension-creation-ratio', 'vqa-accuracy');

// %%
sweepFigure('data-noise', 'vqa-accuracy');

// %% [markdown]
// ## Answers
//
// The first held-out questions in order, right or wrong, with their pictures.

// %%
const asked = job.result.use.answers.map((_, i) => questionAt(job.result.seed, i, { split: 'test' }));
contactSheet(asked.map(({ image }) => ({ width: 32, height: 32, data: loadImage(image, 32) })), { columns: 12, scale: 2, labels: asked.map((_, i) => String(i + 1)) });

// %%
const answers = job.result.use.answers.map(({ question, answer, expected }, i) => ({ picture: i + 1, question, answer, expected, right: answer === expected }));
aqFrom(answers);

// %%
md`${answers.filter(({ right }) => right).length} of these ${answers.length} are right, word for word. On the whole test set: ${stated(find(joint, 'vqa-accuracy'))}.`;

// %% [markdown]
// And captions beside a true one:

// %%
aqFrom(job.result.use.captions.map(({ caption, expected }) => ({ caption, expected })));
