import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Measurement } from '../eval/protocol.js';
import { duration } from '../train/progress.js';
import { readEvents } from '../train/run-folder.js';
import { stageNames, type StageName } from '../train/stages.js';
import { bars, radar, type Bar } from './figures/bars.js';
import { curves, lossCurve } from './figures/curves.js';
import type { Figure } from './figures/figure.js';
import type { MainResult } from './main-job.js';
import type { Job } from './job.js';
import { type Block, type Page, type Section, renderPage } from './page.js';
import { paperValues } from './paper.js';
import { synergyArmNames } from './synergy.js';
import { digits, escapeHtml } from './tables.js';

/** Finds one measurement by metric, and by what its protocol says. */
export function find(measurements: readonly Measurement[], metric: string, protocol: Readonly<Record<string, unknown>> = {}): Measurement {
  const found = measurements.find((m) => m.metric === metric && Object.entries(protocol).every(([key, value]) => m.protocol[key] === value));
  if (!found) throw new Error(`No measurement "${metric}" with ${JSON.stringify(protocol)} among ${measurements.map((m) => m.metric).join(', ')}.`);
  return found;
}

/** Accuracy over first rotations alone, which is in the details of a circular measurement. */
export function vanilla(measured: Measurement): Measurement {
  const { accuracy, n, ci } = (measured.details as { vanilla: { accuracy: number; n: number; ci: Measurement['ci'] } }).vanilla;
  return { metric: 'mmbench-vanilla', value: accuracy, n, ...(ci ? { ci } : {}), protocol: { ...measured.protocol, evaluation: 'first rotation only' } };
}

const byLikelihood = { matcher: 'log-likelihood of the letters', picture: true } as const;
const withoutPicture = { picture: false } as const;

const bar = (label: string, { value, ci }: Measurement): Bar => ({ label, value, ...(ci ? { ci: [ci.low, ci.high] as const } : {}) });

/** The loss curves of the joint run, one figure a stage. */
export function stageCurves({ result, folder }: Job): { name: StageName; figure: Figure }[] {
  return stageNames.map((name) => {
    const steps = readEvents(join(folder, result.stages.joint[name])).filter(({ type }) => type === 'step');
    const series = (['lm', 'diffusion'] as const)
      .map((part) => ({ name: part === 'lm' ? 'language loss' : 'diffusion loss', steps: steps.map(({ step }) => step!), values: steps.map((event) => event[part] as number) }))
      .filter(({ values }) => values.some((value) => value > 0));
    return { name, figure: lossCurve(name, series) };
  });
}

/** Held-out losses of stages at noise that never changes, against their steps. */
export function validationCurves({ result, folder }: Job, names: readonly StageName[] = stageNames): Figure {
  const series = names.flatMap((name) => {
    const events = readEvents(join(folder, result.stages.joint[name])).filter(({ type, valDiffusion }) => type === 'evaluation' && typeof valDiffusion === 'number');
    return events.length ? [{ name, x: events.map(({ step }) => step!), y: events.map(({ valDiffusion }) => valDiffusion as number) }] : [];
  });
  return curves('Held-out diffusion loss at fixed noise', 'step', 'mean squared error', series);
}

/** Every measurement of the job, named by what was measured. */
export function allMeasurements({ result: { foundation, arms, guidance } }: Job): { of: string; measurement: Measurement }[] {
  const rows = [
    { of: 'autoencoder', measurement: foundation.autoencoder },
    { of: 'CLIP', measurement: foundation.retrieval },
    ...foundation.unet.map((measurement) => ({ of: 'foundation U-Net', measurement })),
    ...foundation.untrained.map((measurement) => ({ of: 'untrained U-Net', measurement })),
    ...synergyArmNames.flatMap((arm) => [...arms[arm].comprehension, ...arms[arm].creation].map((measurement) => ({ of: arm, measurement }))),
    ...guidance.flatMap(({ scale, measurements }) => measurements.map((measurement) => ({ of: `joint, guidance ${scale}`, measurement }))),
  ];
  return rows;
}

/** Multiple choice, open questions, FID, CLIP score and the rest, an arm a group. */
export function synergyFigures({ result: { arms } }: Job): Figure[] {
  const groups = (pick: (arm: MainResult['arms']['joint']) => Bar[]) => synergyArmNames.map((arm) => ({ name: arm, bars: pick(arms[arm]) }));
  return [
    bars('Synergy: comprehension', 'accuracy', groups(({ comprehension: m }) => [
      bar('multiple choice', vanilla(find(m, 'mmbench-circular', byLikelihood))),
      bar('without the picture', vanilla(find(m, 'mmbench-circular', withoutPicture))),
      bar('circular', find(m, 'mmbench-circular', byLikelihood)),
      bar('open questions', find(m, 'vqa-accuracy')),
    ])),
    bars('Synergy: creation (lower is better)', 'FID, 192 dimensions', groups(({ creation: m }) => [bar('FID', find(m, 'fid'))])),
  ];
}

export function abilityRadar({ result: { arms } }: Job): Figure {
  const abilities = (m: Measurement) => (m.details as { abilities: { l2: Record<string, { accuracy: number }> } }).abilities.l2;
  const seen = abilities(find(arms.joint.comprehension, 'mmbench-circular', byLikelihood));
  const blind = abilities(find(arms.joint.comprehension, 'mmbench-circular', withoutPicture));
  const names = Object.keys(seen);
  return radar('Abilities (second level), circular accuracy', names, [
    { name: 'joint', values: names.map((name) => seen[name].accuracy) },
    { name: 'joint, without the picture', values: names.map((name) => blind[name].accuracy) },
  ]);
}

/** FID of the joint model's pictures at each guidance scale that the job drew with. */
export function guidanceFigure({ result: { guidance } }: Job): Figure {
  return curves('FID against guidance', 'guidance scale', 'FID, 192 dimensions', [{ name: 'joint', x: guidance.map(({ scale }) => scale), y: guidance.map(({ measurements }) => find(measurements, 'fid').value) }]);
}

/** The page that the main job ends with. */
export function mainReport(job: Job): string {
  const { result, folder } = job;
  const picture = (path: string, caption: string, width?: number): Block => ({ kind: 'picture', png: readFileSync(join(folder, path)), caption, ...(width ? { width } : {}) });
  const inline = (path: string, width = 64) => `<img src="data:image/png;base64,${readFileSync(join(folder, path)).toString('base64')}" width="${width}" alt="">`;
  const sections: Section[] = [
    {
      title: 'Data',
      blocks: [picture('pictures/data.png', 'Pictures of the emoji world: five artists, eight inks, composed scenes; drawn from a seed.')],
    },
    {
      title: 'Foundation',
      blocks: [
        picture('pictures/foundation.png', 'Held-out prompts. Above: the true pictures. Below: what the text-conditioned U-Net of the foundation draws (DDIM, 20 steps, guidance 3).'),
        { kind: 'html', html: measurementTable(allMeasurements(job).filter(({ of }) => ['autoencoder', 'CLIP', 'foundation U-Net', 'untrained U-Net'].includes(of))) },
      ],
    },
    { title: 'Training', blocks: [...stageCurves(job).map(({ figure }): Block => ({ kind: 'figure', figure, height: 300 })), { kind: 'figure', figure: validationCurves(job) }] },
    {
      title: 'Comprehension',
      blocks: [
        { kind: 'figure', figure: abilityRadar(job), height: 460 },
        { kind: 'html', html: answersTable(result, inline) },
      ],
    },
    {
      title: 'Creation',
      blocks: [
        picture('pictures/joint.png', 'Held-out prompts. Above: the true pictures. Below: what the joint model draws from its own dream queries (DDIM, 20 steps, guidance 2).'),
        { kind: 'html', html: drawingsTable(result, inline) },
        { kind: 'figure', figure: guidanceFigure(job) },
      ],
    },
    { title: 'Interleaved documents', blocks: [{ kind: 'text', text: 'The model decides where a picture goes, draws it from all that stands before it, reads it back and goes on.' }, { kind: 'html', html: documentsHtml(result, inline) }] },
    {
      title: 'Synergy',
      blocks: [
        { kind: 'text', text: `All arms see the same records in the same order for as many updates; they differ by the losses that count. One seed (${result.seed}): a difference here is an observation, not a finding.` },
        ...synergyFigures(job).map((figure): Block => ({ kind: 'figure', figure })),
        ...synergyArmNames.slice(1).map((arm) => picture(`pictures/${arm}.png`, `${arm}: held-out prompts, true pictures above.`)),
      ],
    },
    { title: 'The paper beside it', blocks: [{ kind: 'html', html: paperBeside(result) }] },
    { title: 'Every number and its protocol', blocks: [{ kind: 'html', html: measurementTable(allMeasurements(job)) }] },
    { title: 'What each part took', blocks: [{ kind: 'html', html: timesTable(result) }] },
  ];
  return renderPage({ title: 'DreamLLM at nano size', sections } satisfies Page);
}

function measurementTable(rows: readonly { of: string; measurement: Measurement }[]): string {
  const body = rows.map(({ of, measurement: { metric, value, ci, n, protocol, warnings } }) => {
    const stated = Object.entries(protocol).filter(([, v]) => v !== undefined && v !== null).map(([k, v]) => `${k} ${String(v)}`).join(', ');
    const interval = ci ? `[${digits(ci.low)}, ${digits(ci.high)}] ${ci.method}, over ${ci.source}` : '';
    return row([of, metric, digits(value), interval, String(n), `${stated}${warnings?.length ? `. ${warnings.join(' ')}` : ''}`]);
  });
  return table(['model', 'metric', 'value', '95 % interval', 'n', 'protocol'], body);
}

/** The paper's numbers in a column of their own: another model, other data, another scale. */
function paperBeside(result: MainResult): string {
  const synergy = paperValues('table3_synergy_ablation');
  const rows: [string, string, string][] = [
    ['1 Creation-only', 'MS-COCO', `FID ${digits(find(result.arms['creation-only'].creation, 'fid').value)}`],
    ['5 Joint-learning', 'MS-COCO', `FID ${digits(find(result.arms.joint.creation, 'fid').value)}`],
    ['5 Joint-learning', 'VQAv2', `VQA accuracy ${digits(find(result.arms.joint.comprehension, 'vqa-accuracy').value)}`],
  ];
  const body = rows.map(([method, benchmark, ours]) => {
    const printed = synergy.find((value) => value.method === method && value.benchmark === benchmark);
    return row([method, printed ? `${printed.metric} ${printed.value} on ${benchmark}` : 'not found', ours]);
  });
  return `${table(['line of Table 3', 'paper (7B)', 'here (nano, emoji world, one seed)'], body)}<p class="notes">The two columns cannot be compared: model, data, resolution, feature extractor and sample size differ.</p>`;
}

const answersTable = ({ use }: MainResult, inline: (path: string) => string) =>
  `${htmlTable(['picture', 'question', 'answer', 'expected'], use.answers.map((a) => [inline(a.picture), escapeHtml(a.question), escapeHtml(a.answer), escapeHtml(a.expected)]))}
   ${htmlTable(['picture', 'caption', 'a true one'], use.captions.map((c) => [inline(c.picture), escapeHtml(c.caption), escapeHtml(c.expected)]))}`;

const drawingsTable = ({ use }: MainResult, inline: (path: string) => string) =>
  htmlTable(['prompt', 'guidance 1', '2', '4', '7.5'], use.drawings.map(({ prompt, pictures }) => [escapeHtml(prompt), ...pictures.map((path) => inline(path))]));

const documentsHtml = ({ use }: MainResult, inline: (path: string) => string) =>
  use.documents
    .map(({ prompt, parts }) => `<p><b>${escapeHtml(prompt)}</b> ${parts.map((part) => ('text' in part ? escapeHtml(part.text) : `<br>${inline(part.picture)}<br>`)).join(' ')}</p>`)
    .join('\n');

const timesTable = ({ times }: MainResult) => table(['part', 'time'], times.map(({ title, seconds }) => row([title, duration(seconds)])));

const row = (cells: readonly string[]) => `<tr>${cells.map((cell) => `<td>${escapeHtml(cell)}</td>`).join('')}</tr>`;
const htmlTable = (head: readonly string[], rows: readonly (readonly string[])[]) => table(head, rows.map((cells) => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`));
const table = (head: readonly string[], body: readonly string[]) =>
  `<table><thead><tr>${head.map((cell) => `<th>${escapeHtml(cell)}</th>`).join('')}</tr></thead><tbody>${body.join('\n')}</tbody></table>`;
