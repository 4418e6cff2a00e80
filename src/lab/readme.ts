import type { Retrieval } from '../eval/nano/clip.js';
import { mmbench } from '../data/benchmarks.js';
import type { Axis, Split } from '../data/types.js';
import { optionLikelihood } from '../eval/nano/comprehension.js';
import type { Interval, Measurement } from '../eval/protocol.js';
import { mcnemarTest, mean } from '../eval/statistics.js';
import { duration } from '../train/progress.js';
import { recordHash } from './job.js';
import type { MainResult } from './main-job.js';
import { allMeasurements, find, vanilla } from './report.js';
import { synergyArmNames } from './synergy.js';
import { digits } from './tables.js';
import { atLeast } from './verdicts.js';

/** Parts of documents that are made from the record of a main job, so that no number in them is typed by hand. */

/** The names of generated parts. In a document one stands between `<!-- generated: NAME -->` and `<!-- end -->`. */
export const partNames = ['results', 'times', 'joint', 'sheets', 'limits'] as const;
export type PartName = (typeof partNames)[number];

const part = /(<!-- generated: ([\w-]+) -->\n)[^]*?(<!-- end -->)/g;

/** `text` with every generated part written anew from `parts`. A name that is not among them is an error. */
export function withParts(text: string, parts: Readonly<Record<string, string>>): string {
  return text.replace(part, (_, begin: string, name: string, end: string) => {
    if (!Object.hasOwn(parts, name)) throw new Error(`Generated part "${name}" is not known. There are ${Object.keys(parts).join(', ')}.`);
    const body = parts[name];
    return `${begin}${body ? `${body}\n` : ''}${end}`;
  });
}

const measuredFile = 'experiments/reproduced/main-job.md';
const percent = (value: number): string => `${(100 * value).toFixed(1)} %`;
const interval = (ci: Interval | undefined, show: (value: number) => string): string => (ci ? `${show(ci.low)} to ${show(ci.high)}, ` : '');

interface Row {
  what: string;
  measured: Measurement;
  /** Default: the measurement's own value. */
  value?: number;
  show(value: number): string;
  beside: string;
}

/** What a README says of a job, each line with the number that it has in `main-job.md`. `prefix` leads from the document to the repository's root. */
export function generatedParts(result: MainResult, prefix = ''): Record<PartName, string> {
  return { results: resultsPart(result, prefix), times: timesPart(result), joint: jointPart(result), sheets: sheetsPart(result, prefix), limits: limitsPart(result) };
}

const likelihood = { matcher: optionLikelihood } as const;
const choice = (result: MainResult, picture: boolean): Measurement => find(result.arms.joint.comprehension, 'mmbench-circular', { ...likelihood, picture });
const detail = <T>({ details }: Measurement): T => details as T;

/** Guessing among the options of each question: its mean, and the probability of at least as many hits. */
function guessing(measured: Measurement): { chance: number; p: number } {
  const { testSeed, perAbility } = measured.protocol;
  const chances = mmbench(Number(testSeed), { ...axisOf(measured), perAbility: Number(perAbility) }).map(({ options }) => 1 / options!.length);
  const hits = detail<{ perQuestion: { vanilla: boolean }[] }>(measured).perQuestion.filter(({ vanilla: right }) => right).length;
  if (chances.length !== measured.n) throw new Error(`The benchmark of the record has ${measured.n} questions, and its protocol now makes ${chances.length}. Run npm start and npx dreamllm publish again.`);
  return { chance: mean(chances), p: atLeast(hits, chances) };
}

/** Whether the picture helps: right with it and wrong without, against wrong with it and right without. */
function pictureHelps(result: MainResult): number {
  const [seen, blind] = [true, false].map((picture) => detail<{ perQuestion: { vanilla: boolean }[] }>(choice(result, picture)).perQuestion.map(({ vanilla: right }) => right));
  return mcnemarTest(seen.filter((right, i) => right && !blind[i]).length, blind.filter((right, i) => right && !seen[i]).length);
}

/** The split and the axis that a protocol names, as in "test, new cell". */
function axisOf({ protocol: { split } }: Measurement): { split: Split; axis: Axis } {
  const [, name, axis] = /^(\w+), new (\w+)$/.exec(String(split))!;
  return { split: name as Split, axis: axis as Axis };
}

type Prompted = { prompted: number; unprompted: number; p: number };

function rows(result: MainResult): Row[] {
  const { foundation: { autoencoder, retrieval, unet, untrained }, arms } = result;
  const { scenes, aligned, chance } = detail<Retrieval>(retrieval);
  const creation = arms.joint.creation;
  const others = (metric: string, of: 'comprehension' | 'creation', show: (value: number) => string) =>
    synergyArmNames.slice(1).map((arm) => `${arm} ${show(find(arms[arm][of], metric).value)}`).join(', ');
  const one = (value: number) => value.toFixed(1);
  const { chance: guessed, p: byGuessing } = guessing(choice(result, true));
  const loss = find(creation, 'diffusion-loss');
  const [score, identification] = [find(creation, 'clip-score'), find(creation, 'identification')];
  return [
    { what: 'autoencoder, PSNR', measured: autoencoder, show: (value) => `${one(value)} dB`, beside: '–' },
    { what: 'CLIP, caption of a picture in an unseen cell, top-1', measured: retrieval, show: percent, beside: `chance ${percent(chance)}` },
    { what: 'CLIP, the same object by another artist in another scene, top-1', measured: { ...retrieval, ci: undefined }, value: scenes.byImages, show: percent, beside: `raw pixels ${percent(scenes.byPixels)}, p = ${digits(scenes.imagesP)}` },
    { what: 'CLIP, the same with both large in the middle on white', measured: { ...retrieval, ci: undefined }, value: aligned.byImages, show: percent, beside: `raw pixels ${percent(aligned.byPixels)}` },
    { what: 'U-Net, right one of ten objects nearest', measured: find(unet, 'identification'), show: percent, beside: `chance 10 %; untrained ${percent(find(untrained, 'identification').value)}` },
    { what: 'U-Net, FID (ImageNet Inception, 192 dimensions)', measured: find(unet, 'fid'), show: one, beside: `untrained ${one(find(untrained, 'fid').value)}` },
    { what: 'joint, F1 of `<dream_start>` at ends of sentences', measured: find(arms.joint.comprehension, 'dream-token-f1'), show: (value) => value.toFixed(2), beside: others('dream-token-f1', 'comprehension', (value) => value.toFixed(2)) },
    { what: 'joint, open questions, VQA accuracy', measured: find(arms.joint.comprehension, 'vqa-accuracy'), show: percent, beside: others('vqa-accuracy', 'comprehension', percent) },
    { what: 'joint, captions, CIDEr-D', measured: find(arms.joint.comprehension, 'cider-d'), show: (value) => value.toFixed(2), beside: others('cider-d', 'comprehension', (value) => value.toFixed(2)) },
    { what: 'joint, multiple choice, first rotation', measured: { ...vanilla(choice(result, true)) }, show: percent, beside: `chance ${percent(guessed)}, p = ${digits(byGuessing)} (exact, one-sided); without the picture ${percent(vanilla(choice(result, false)).value)}, p = ${digits(pictureHelps(result))} (McNemar)` },
    { what: 'joint, multiple choice, right in every rotation', measured: choice(result, true), show: percent, beside: `without the picture ${percent(choice(result, false).value)}` },
    { what: 'joint, FID (192 dimensions)', measured: find(creation, 'fid'), show: one, beside: others('fid', 'creation', one) },
    { what: 'joint, right one of ten objects nearest', measured: identification, show: percent, beside: `chance 10 %; empty prompt ${percent(detail<Prompted>(identification).unprompted)}` },
    { what: 'joint, CLIP score (the foundation’s CLIP, 100 · cosine)', measured: score, show: one, beside: `empty prompt ${one(detail<Prompted>(score).unprompted)}, p = ${digits(detail<Prompted>(score).p)}` },
    { what: 'joint, diffusion loss with the prompt', measured: loss, show: (value) => value.toFixed(4), beside: `empty prompt ${detail<Prompted>(loss).unprompted.toFixed(4)}, p = ${digits(detail<Prompted>(loss).p)}` },
  ];
}

function resultsPart(result: MainResult, prefix: string): string {
  const numbered = allMeasurements({ folder: '', result });
  const numberOf = ({ metric, protocol }: Measurement, what: string): number => {
    // `vanilla` is a detail of the circular measurement, whose protocol it carries.
    const name = metric === 'mmbench-vanilla' ? 'mmbench-circular' : metric;
    const of = what.startsWith('joint') ? ['joint'] : ['autoencoder', 'CLIP', 'foundation U-Net'];
    return 1 + numbered.findIndex((each) => of.includes(each.of) && each.measurement.metric === name && each.measurement.protocol.picture === protocol.picture && each.measurement.protocol.matcher === protocol.matcher);
  };
  const lines = rows(result).map(({ what, measured, value = measured.value, show, beside }) => {
    const number = numberOf(measured, what);
    return `| ${what} | ${show(value)} | ${interval(measured.ci, show)}n = ${measured.n} | ${beside} | [${number}](${prefix}${measuredFile}#m${number}) |`;
  });
  return [
    `${origin(result)} Held out means unseen pairs of object and style. One seed: a difference between arms is an observation.`,
    '',
    '| held-out measurement | value | 95 % interval, n | compare with | protocol |',
    '| --- | --- | --- | --- | --- |',
    ...lines,
  ].join('\n');
}

const origin = (result: MainResult): string => {
  const { seed, stages, made } = result;
  const where = ` ${made.day}, ${made.engine}, ${made.threads} threads, ${made.hardware.cpu}, commit ${made.code.commit?.slice(0, 7) ?? 'unknown'}${made.code.dirty ? ' with changes' : ''}.`;
  return `Record \`${recordHash(result)}\`, seed ${seed}; final model \`${stages.joint.sft}\`.${where}`;
};

function timesPart({ times, made }: MainResult): string {
  const { engine, threads, lanes, load, memoryMiB, seconds, doneBefore } = made;
  const on = `${engine}, ${threads} threads, ${lanes} parts at once, load ${load.toFixed(1)} before it began, at most ${(memoryMiB / 1024).toFixed(1)} GiB`;
  const resumed = doneBefore > 0 ? `, ${doneBefore} of ${times.length} steps done in an earlier start` : '';
  return `${duration(seconds)} in all (${on}${resumed}): ${times.map(({ title, seconds }) => `${title[0].toLowerCase()}${title.slice(1)} ${duration(seconds)}`).join('; ')}.`;
}

/** Whether the prompt reaches the joint model's pictures, by both paired tests. */
function promptIsHeard({ arms }: MainResult): boolean {
  const [score, loss] = [find(arms.joint.creation, 'clip-score'), find(arms.joint.creation, 'diffusion-loss')].map(detail<Prompted>);
  return score.p < 0.05 && score.prompted > score.unprompted && loss.p < 0.05 && loss.prompted < loss.unprompted;
}

function jointPart(result: MainResult): string {
  const { unprompted, p, prompted } = detail<Prompted>(find(result.arms.joint.creation, 'clip-score'));
  const heard = promptIsHeard(result) ? 'the prompt reaches the pictures' : '**it does not follow the prompt measurably**, see [Limits](#limits)';
  return `The joint DreamLLM after stage III on the same prompts (guidance 2): ${heard} (CLIP score ${prompted.toFixed(1)} with it, ${unprompted.toFixed(1)} with the empty prompt, p = ${digits(p)}).`;
}

function sheetsPart({ samples }: MainResult, prefix: string): string {
  const list = (prompts: readonly string[]) => prompts.map((prompt, i) => `(${i + 1}) ${prompt}`).join(', ');
  return [
    `![Each stage](${prefix}data/samples/stages.png)`,
    '',
    `Fixed held-out prompts, from the top: ${samples.stages.join(', ')} (guidance 2, the foundation 3). From the left: ${list(samples.prompts)}.`,
    '',
    `![Guidance scales](${prefix}data/samples/guidance.png)`,
    '',
    `The same prompts and noise by the final model: true pictures, then guidance ${samples.scales.join(', ')}.`,
    '',
    `![Failures](${prefix}data/samples/failures.png)`,
    '',
    `Failures: of the first ${samples.failures.of} prompts the drawings farthest from the true picture (${samples.failures.distance}): ${list(samples.failures.prompts)}.`,
  ].join('\n');
}

/** What a record says does not work. Each line is there only as long as the numbers say so. */
function limitsPart(result: MainResult): string {
  const { foundation: { retrieval }, arms, made } = result;
  const lines: [string, string][] = [];
  const { prompted, unprompted, p } = detail<Prompted>(find(arms.joint.creation, 'diffusion-loss'));
  if (!promptIsHeard(result)) lines.push(['After stage III creation does not measurably follow the prompt', `diffusion loss ${prompted.toFixed(4)} with it, ${unprompted.toFixed(4)} without, p = ${digits(p)}`]);

  const identified = find(arms.joint.creation, 'identification');
  const { chance } = detail<{ chance: number }>(identified);
  if (identified.ci && identified.ci.low <= chance) lines.push(['The prompted object is not to be recognised in the drawings', `right one of ten nearest: ${percent(identified.value)} (${interval(identified.ci, percent)}n = ${identified.n}), chance ${percent(chance)}`]);

  const [seen, blind] = [vanilla(choice(result, true)), vanilla(choice(result, false))];
  const helped = pictureHelps(result);
  if (!(seen.value > blind.value && helped < 0.05)) lines.push(['Multiple choice cannot be told from the same model without the picture', `${percent(seen.value)} (${interval(seen.ci, percent)}n = ${seen.n}) against ${percent(blind.value)}, p = ${digits(helped)} (McNemar)`]);
  const { above, of } = abilitiesAbove(result);
  if (above < of) lines.push([`${of - above} of ${of} abilities are not clearly above the blind baseline`, `interval of the circular accuracy against the value without the picture, ${choice(result, true).n} questions in all`]);

  for (const [name, { byImages, byPixels }] of Object.entries({ 'in scenes': detail<Retrieval>(retrieval).scenes, 'large in the middle on white': detail<Retrieval>(retrieval).aligned })) {
    if (byImages < byPixels) lines.push([`The nano CLIP recognises an object across artists worse than raw pixels do, ${name}`, `${percent(byImages)} against ${percent(byPixels)}, n = ${retrieval.n}`]);
  }
  if (made.memoryMiB > 3 * 1024) lines.push(['`npm start` may hold more than 3 GB', `at most ${(made.memoryMiB / 1024).toFixed(1)} GiB: the largest processes' peaks added up, ${made.lanes} parts at once`]);
  if (made.seconds > 900) lines.push(['`npm start` took longer than 15 minutes', `${duration(made.seconds)} at a load of ${made.load.toFixed(1)} before it began`]);
  return ['| limit, from the record | evidence |', '| --- | --- |', ...lines.map(([limit, evidence]) => `| ${limit} | ${evidence} |`)].join('\n');
}

/** Abilities of the third level whose interval lies above the value without the picture. */
function abilitiesAbove(result: MainResult): { above: number; of: number } {
  const of = (picture: boolean) => detail<{ abilities: { l3: Record<string, { accuracy: number; ci: Interval }> } }>(choice(result, picture)).abilities.l3;
  const [seen, blind] = [of(true), of(false)];
  const names = Object.keys(seen);
  return { above: names.filter((name) => seen[name].ci.low > blind[name].accuracy).length, of: names.length };
}

/** Every measurement of a job with its run folder and protocol, numbered: where a number of the README leads to. */
export function measuredMarkdown(result: MainResult): string {
  const folderOf = (of: string): string => {
    const arm = synergyArmNames.find((name) => of === name || of.startsWith(`${name},`));
    return arm ? result.stages[arm].sft : of === 'untrained U-Net' ? 'none: seeded random weights' : 'data/foundation';
  };
  const text = (value: unknown) => String(value).replaceAll('|', '\\|').replaceAll('\n', ' ');
  const lines = allMeasurements({ folder: '', result }).map(({ of, measurement: { metric, value, ci, n, protocol, warnings } }, i) => {
    const fields = Object.entries(protocol).filter(([, field]) => field !== undefined && field !== null).map(([key, field]) => `${key}: ${text(field)}`);
    const doubts = warnings?.length ? `. ${warnings.map(text).join(' ')}` : '';
    return `| <a id="m${i + 1}"></a>${i + 1} | ${of} | ${metric} | ${digits(value)} | ${ci ? `${digits(ci.low)} to ${digits(ci.high)}, ${ci.method}, over ${ci.source}` : '–'} | ${n} | ${folderOf(of)} | ${fields.join('; ')}${doubts} |`;
  });
  return [
    '# Every measurement of the main job', '',
    `${origin(result)} Made by \`npm run reproduce\` from \`experiments/main-job/result.json\`; do not edit.`, '',
    'A run folder\'s name ends in the hash of its settings, parents, foundation and code.', '',
    '| | model | metric | value | 95 % interval | n | run folder | protocol |', '| --- | --- | --- | --- | --- | --- | --- | --- |', ...lines, '',
  ].join('\n');
}
