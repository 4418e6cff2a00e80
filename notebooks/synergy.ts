// %% [markdown]
// # Synergy
//
// The paper's claim: learning to draw helps to read, and the other way round. The three arms here see the same records in the same order for as many updates, and differ by the
// losses that count. One seed: a difference is an observation.

// %% tags=["parameters"]
const folder = 'runs/start';

// %%
import { against, describeJob, find, jobPicture, measurementTable, openJob, sweepFigure, synergyArms, synergyFigures } from 'dreamllm';
import { md } from 'dreamllm/notebook';
const job = openJob(folder);
const [comprehension, creation] = synergyFigures(job);
describeJob(job);

// %%
synergyArms;

// %% [markdown]
// ## Reading
//
// `creation-only` had no language loss after the foundation, so it has never seen the answer format: expect it at or below chance.

// %%
comprehension;

// %%
const arms = job.result.arms;
const vqa = (arm: keyof typeof arms) => find(arms[arm].comprehension, 'vqa-accuracy');
md`${against('Open questions, joint:', vqa('joint'), { name: 'comprehension-only', value: vqa('comprehension-only').value })} The interval is over questions, not seeds, and leaves out that the other number is uncertain too.`;

// %% [markdown]
// ## Drawing
//
// `comprehension-only` keeps the dream queries and the condition projector of stage I, but its language model moves on without them.

// %%
creation;

// %%
const fid = (arm: keyof typeof arms) => find(arms[arm].creation, 'fid').value.toFixed(1);
md`FID: joint ${fid('joint')}, creation-only ${fid('creation-only')}, comprehension-only ${fid('comprehension-only')} (lower is better; one seed, no interval).`;

// %% [markdown]
// What the arms draw for the same prompts, true pictures above each: joint, creation-only, comprehension-only.

// %%
jobPicture(job, 'pictures/joint.png');

// %%
jobPicture(job, 'pictures/creation-only.png');

// %%
jobPicture(job, 'pictures/comprehension-only.png');

// %% [markdown]
// ## Over seeds
//
// The sweep repeats the arms with five seeds and without documents. Differences are paired by seed; an interval that leaves out zero is a finding. From the paper expect
// `creation-only` to draw worse than joint learning (a higher FID), and `comprehension-only` to read worse.

// %%
sweepFigure('synergy', 'fid-difference');

// %%
sweepFigure('synergy', 'vqa-difference');

// %%
sweepFigure('synergy', 'multiple-choice');

// %% [markdown]
// Drawing points where the paper does: `creation-only` is worse in four seeds of five, and without documents in all five, though no interval leaves out zero after correction.
// Reading does not: joint learning and `comprehension-only` answer alike. `creation-only` leads in multiple choice only because it never learned to look: its answers do not
// depend on the order of the options. The verdict with all figures is in `experiments/synergy/README.md`.

// %% [markdown]
// ## Every number

// %%
measurementTable(job, 'mmbench-circular', 'vqa-accuracy', 'fid', 'kid', 'clip-score');
