import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useBackend } from '../core/backend.js';
import { packageRoot } from '../core/process.js';
import type { MainResult } from '../lab/main-job.js';
import { partNames, type PartName } from '../train/foundation/part.js';
import { exportPart, trainPart } from '../train/foundation/trainer.js';
import { writeTextAtomically } from '../train/files.js';
import { foundationHash } from '../train/hand-off.js';
import { stageSettings } from '../train/overrides.js';
import { duration, progress } from '../train/progress.js';
import { changesOf, fullCurve, readReferenceCurves, referenceFile, type ReferenceCurves } from '../train/reference-curves.js';
import { shortCurves } from '../train/short-curves.js';
import { nano, stageNames } from '../train/stages.js';
import { UsageError, type Command } from './command.js';

const command: Command = {
  name: 'foundation',
  summary: 'Trains the four models that nano starts from: autoencoder, CLIP, language model, U-Net. `export` writes the newest checkpoint of a run, `curves` the reference losses of nano\'s stages: short ones by training, whole ones from run folders.',
  usage: 'train|export|curves [--only NAME] [--out DIR] [--runs DIR] [--resume] [--minutes M] [--job DIR] [--stage-run DIR]',
  options: {
    only: { type: 'string', multiple: true, help: `train these parts alone: ${partNames.join(', ')} (repeatable)` },
    out: { type: 'string', help: 'where NAME.safetensors and foundation.json go (default data/foundation)' },
    runs: { type: 'string', help: 'where the run folders go (default runs)' },
    resume: { type: 'boolean', help: 'go on with runs that were interrupted; finished parts are left alone' },
    job: { type: 'string', help: 'curves: folder of a finished main job, whose joint stages give the whole curves' },
    'stage-run': { type: 'string', multiple: true, help: 'curves: a finished run of a stage that gives its whole curve (repeatable)' },
    minutes: { type: 'string', help: 'longest time for each part; fewer steps are taken where the machine is slow' },
  },
  async run({ positionals, values }, signal) {
    const [action] = positionals;
    const actions = ['train', 'export', 'curves'];
    if (positionals.length !== 1 || !actions.includes(action)) throw new UsageError(`Expected "foundation" and one of ${actions.join(', ')}, found "${positionals.join(' ')}".`);
    const only = (values.only as string[] | undefined) ?? [...partNames];
    const unknown = only.find((name) => !partNames.includes(name as PartName));
    if (unknown) throw new UsageError(`Unknown part "${unknown}". There are ${partNames.join(', ')}.`);
    const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
    if (minutes !== undefined && !(minutes > 0)) throw new UsageError(`--minutes: expected a positive number, found "${values.minutes}".`);

    const { engine, threads } = await useBackend();
    console.error(`Computing on ${engine}, ${threads} threads.`);
    const out = (values.out as string | undefined) ?? join(packageRoot(), 'data/foundation');
    if (action === 'curves') {
      const job = values.job as string | undefined;
      const runs = [...(job ? jointStages(job) : []), ...((values['stage-run'] as string[] | undefined) ?? [])];
      return writeCurves(out, runs);
    }
    const runs = (values.runs as string | undefined) ?? 'runs';
    for (const name of partNames.filter((part) => only.includes(part))) {
      const options = { out, runs, resume: values.resume === true, minutes, signal, progress: (label: string, steps: number) => progress(label, steps) };
      const record = await (action === 'train' ? trainPart(name, options) : exportPart(name, options));
      console.log(`${name}: ${record.steps} steps in ${duration(record.seconds)}, ${summary(record.results)}`);
    }
  },
};

/** Takes the short curves anew, and the whole ones of `runs`. Whole curves of the same foundation and settings that are there already stay. */
async function writeCurves(foundation: string, runs: readonly string[]): Promise<void> {
  const hash = foundationHash(foundation);
  const before = existsSync(referenceFile) ? readReferenceCurves() : undefined;
  const full: ReferenceCurves['full'] = {};
  for (const name of before?.foundation === hash ? stageNames : []) {
    const curve = before!.full[name];
    if (curve && changesOf(curve.settings, stageSettings(nano[name])).length === 0) full[name] = curve;
  }
  for (const run of runs) {
    const { preset, parents, curve } = fullCurve(run);
    const { name } = curve.settings;
    if (preset !== 'nano' || !parents.includes(hash)) throw new Error(`${run} trained ${preset} from ${parents[0]}, and the curves are of nano from the foundation ${hash}. Train the stage from it.`);
    const changes = changesOf(curve.settings, stageSettings(nano[name]));
    if (changes.length > 0) throw new Error(`${run} was trained otherwise than nano's ${name}: ${changes.map(({ key, before, now }) => `${key} ${before}, not ${now}`).join('; ')}.`);
    full[name] = curve;
  }
  const root = mkdtempSync(join(tmpdir(), 'dreamllm-curves-'));
  try {
    writeTextAtomically(referenceFile, `${JSON.stringify({ ...(await shortCurves(root, foundation)), full } satisfies ReferenceCurves, null, 1)}\n`);
  } finally {
    rmSync(root, { recursive: true });
  }
  const missing = stageNames.filter((name) => !full[name]);
  console.log(`${referenceFile}: short curves of all stages; whole curves of ${stageNames.filter((name) => full[name]).join(', ') || 'none'}.`);
  if (missing.length > 0) console.log(`No whole curve of ${missing.join(', ')}: give --job DIR of a finished main job, or --stage-run DIR.`);
}

/** Run folders of the joint arm of a main job. */
function jointStages(job: string): string[] {
  const file = join(job, 'result.json');
  if (!existsSync(file)) throw new UsageError(`${job} holds no finished main job: ${file} is missing.`);
  const { stages } = JSON.parse(readFileSync(file, 'utf8')) as Pick<MainResult, 'stages'>;
  return stageNames.map((name) => join(job, stages.joint[name]));
}

const summary = (results: Record<string, unknown>) =>
  Object.entries(results)
    .filter((entry): entry is [string, number] => typeof entry[1] === 'number')
    .map(([name, value]) => `${name} ${value.toPrecision(4)}`)
    .join(', ');

export default command;
