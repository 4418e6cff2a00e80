import { join, resolve } from 'node:path';
import { useBackend } from '../core/backend.js';
import { runMainJob } from '../lab/main-job.js';
import { openJob } from '../lab/job.js';
import { mainReport } from '../lab/report.js';
import { writeTextAtomically } from '../train/files.js';
import { duration, progress } from '../train/progress.js';
import { UsageError, type Command } from './command.js';

const command: Command = {
  name: 'start',
  summary: 'The main job: nano from the foundation through all stages, measured, used and reported. Goes on where it was.',
  usage: '[--out DIR] [--seed N] [--foundation DIR] [--smoke]',
  options: {
    out: { type: 'string', help: 'folder of the job (default runs/start)' },
    seed: { type: 'string', help: 'seed of data order, noise and new parameters (default 0)' },
    foundation: { type: 'string', help: 'folder of the foundation (default data/foundation)' },
    smoke: { type: 'boolean', help: 'a few steps and samples of everything, to see that it runs; its numbers mean nothing' },
  },
  async run({ positionals, values }, signal) {
    if (positionals.length) throw new UsageError(`start takes no arguments, found ${positionals.join(' ')}.`);
    const seed = Number(values.seed ?? 0);
    if (!Number.isInteger(seed) || seed < 0) throw new UsageError(`--seed: expected a whole number of 0 or more, found "${String(values.seed)}".`);
    const out = resolve((values.out as string | undefined) ?? 'runs/start');
    const start = performance.now();
    const { engine, threads, reasons } = await useBackend();
    console.log(`Computing on ${engine}, ${threads} threads (${reasons.at(-1)}).`);

    const bar = progress('main job', 1000);
    const { made } = await runMainJob({
      out, seed, smoke: values.smoke === true, foundation: values.foundation as string | undefined, signal, say: (line) => bar.say(line),
      onProgress: ({ done, running }) => bar.update(Math.round(1000 * done), running.join(', ')),
    });
    bar.end();
    const report = join(out, 'report.html');
    writeTextAtomically(report, mainReport(openJob(out)));
    console.log(`Done in ${duration((performance.now() - start) / 1000)}, ${made.memoryMiB} MiB of memory at most. Report: ${report}`);
  },
};

export default command;
