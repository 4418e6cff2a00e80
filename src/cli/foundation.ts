import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useBackend } from '../core/backend.js';
import { packageRoot } from '../core/process.js';
import { partNames, type PartName } from '../train/foundation/part.js';
import { exportPart, trainPart } from '../train/foundation/trainer.js';
import { writeTextAtomically } from '../train/files.js';
import { duration, progress } from '../train/progress.js';
import { referenceFile, shortCurves } from '../train/reference-curves.js';
import { UsageError, type Command } from './command.js';

const command: Command = {
  name: 'foundation',
  summary: 'Trains the four models that nano starts from: autoencoder, CLIP, language model, U-Net. `export` writes the newest checkpoint of a run, `curves` the losses that tests compare with.',
  usage: 'train|export|curves [--only NAME] [--out DIR] [--runs DIR] [--resume] [--minutes M]',
  options: {
    only: { type: 'string', multiple: true, help: `train these parts alone: ${partNames.join(', ')} (repeatable)` },
    out: { type: 'string', help: 'where NAME.safetensors and foundation.json go (default data/foundation)' },
    runs: { type: 'string', help: 'where the run folders go (default runs)' },
    resume: { type: 'boolean', help: 'go on with runs that were interrupted; finished parts are left alone' },
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
      const root = mkdtempSync(join(tmpdir(), 'dreamllm-curves-'));
      writeTextAtomically(referenceFile, `${JSON.stringify(await shortCurves(root, out), null, 1)}\n`);
      rmSync(root, { recursive: true });
      return;
    }
    const runs = (values.runs as string | undefined) ?? 'runs';
    for (const name of partNames.filter((part) => only.includes(part))) {
      const options = { out, runs, resume: values.resume === true, minutes, signal, progress: (label: string, steps: number) => progress(label, steps) };
      const record = await (action === 'train' ? trainPart(name, options) : exportPart(name, options));
      console.log(`${name}: ${record.steps} steps in ${duration(record.seconds)}, ${summary(record.results)}`);
    }
  },
};

const summary = (results: Record<string, unknown>) =>
  Object.entries(results)
    .filter((entry): entry is [string, number] => typeof entry[1] === 'number')
    .map(([name, value]) => `${name} ${value.toPrecision(4)}`)
    .join(', ');

export default command;
