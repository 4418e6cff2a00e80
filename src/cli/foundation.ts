import { join } from 'node:path';
import { useBackend } from '../core/backend.js';
import { packageRoot } from '../core/process.js';
import { partNames, type PartName } from '../train/foundation/part.js';
import { exportPart, trainPart } from '../train/foundation/trainer.js';
import { duration, progress } from '../train/progress.js';
import { UsageError, type Command } from './command.js';

const command: Command = {
  name: 'foundation',
  summary: 'Trains the four models that nano starts from: autoencoder, CLIP, language model, U-Net. `export` writes the newest checkpoint of a run.',
  usage: 'train|export [--only NAME] [--out DIR] [--runs DIR] [--resume] [--minutes M]',
  options: {
    only: { type: 'string', multiple: true, help: `train these parts alone: ${partNames.join(', ')} (repeatable)` },
    out: { type: 'string', help: 'where NAME.safetensors and foundation.json go (default data/foundation)' },
    runs: { type: 'string', help: 'where the run folders go (default runs)' },
    resume: { type: 'boolean', help: 'go on with runs that were interrupted; finished parts are left alone' },
    minutes: { type: 'string', help: 'longest time for each part; fewer steps are taken where the machine is slow' },
  },
  async run({ positionals, values }, signal) {
    const [action] = positionals;
    if (positionals.length !== 1 || (action !== 'train' && action !== 'export')) throw new UsageError(`Expected "foundation train" or "foundation export", found "${positionals.join(' ')}".`);
    const only = (values.only as string[] | undefined) ?? [...partNames];
    const unknown = only.find((name) => !partNames.includes(name as PartName));
    if (unknown) throw new UsageError(`Unknown part "${unknown}". There are ${partNames.join(', ')}.`);
    const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
    if (minutes !== undefined && !(minutes > 0)) throw new UsageError(`--minutes: expected a positive number, found "${values.minutes}".`);

    const { engine, threads } = await useBackend();
    console.error(`Computing on ${engine}, ${threads} threads.`);
    const out = (values.out as string | undefined) ?? join(packageRoot(), 'data/foundation');
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
