import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { packageRoot, siblingModule } from '../core/process.js';
import { readJson } from '../lab/files.js';
import { loadSweep } from '../lab/load-sweep.js';
import type { MainResult } from '../lab/main-job.js';
import { formatSeconds, planSweep } from '../lab/plan.js';
import { experimentNames, generatedDocuments, reproduce } from '../lab/reproduce.js';
import { partNames } from '../train/foundation/part.js';
import { readFoundation } from '../train/foundation/trainer.js';
import { UsageError, type Command } from './command.js';

const command: Command = {
  name: 'reproduce',
  summary: 'Rebuilds every table and figure that the committed records allow, always to the same bytes, and says what is missing.',
  usage: '[--out DIR] [--from-scratch [--dry-run]]',
  options: {
    out: { type: 'string', help: 'where tables/ and figures/ go (default experiments/reproduced)' },
    'from-scratch': { type: 'boolean', help: 'first make the records anew: foundation, main job with notebooks and pictures, every sweep; prints its plan and goes on where it was' },
    'dry-run': { type: 'boolean', help: 'with --from-scratch: print the plan, run nothing' },
  },
  async run({ positionals, values }, signal) {
    if (positionals.length) throw new UsageError(`reproduce takes no arguments, found ${positionals.join(' ')}.`);
    const experiments = join(packageRoot(), 'experiments');
    if (values['from-scratch']) {
      const steps = await plan(experiments);
      console.log(describe(steps));
      if (values['dry-run']) return 0;
      for (const { argv, result } of steps) {
        await dreamllm(argv, signal);
        if (!result) continue;
        mkdirSync(join(result.to, '..'), { recursive: true });
        copyFileSync(result.from, result.to);
      }
    }
    const out = (values.out as string | undefined) ?? join(experiments, 'reproduced');
    // A reproduction elsewhere leaves the committed documents alone.
    const documents = values.out === undefined ? generatedDocuments(packageRoot()) : [];
    const { files, missing } = await reproduce({ experiments, out, documents, say: (line) => console.log(line) });
    for (const each of missing) console.log(`missing: ${each}`);
    console.log(`${files.length} files in ${relative(process.cwd(), out) || '.'}.`);
  },
};

interface Step {
  argv: string[];
  /** Expected seconds, where known. */
  seconds?: number;
  /** The record that is copied into experiments/. */
  result?: { from: string; to: string };
}

/** Everything that stands behind the tables, in order. Folders under runs/ are kept, so that an interrupted plan goes on. */
async function plan(experiments: string): Promise<Step[]> {
  const runs = join(packageRoot(), 'runs', 'from-scratch');
  const recorded = readFoundation(join(packageRoot(), 'data/foundation'));
  const foundation = partNames.reduce((sum, part) => sum + (recorded?.parts[part]?.seconds ?? NaN), 0);
  const job = join(runs, 'main-job');
  const before = readJson<MainResult>(join(experiments, 'main-job', 'result.json'));
  const steps: Step[] = [
    { argv: ['foundation', 'train', '--runs', join(runs, 'foundation'), '--resume'], ...(Number.isFinite(foundation) ? { seconds: foundation } : {}) },
    { argv: ['start', '--out', job], ...(before ? { seconds: before.times.reduce((sum, { seconds }) => sum + seconds, 0) } : {}) },
    { argv: ['publish', job], seconds: 60 },
  ];
  for (const name of experimentNames(experiments)) {
    const file = join(experiments, name, 'sweep.ts');
    const out = join(runs, name);
    const { seconds } = planSweep(await loadSweep(file), out, 1);
    // Stages that the main job trained already are taken from it.
    const argv = ['sweep', file, '--out', out, '--shared', job];
    steps.push({ argv, ...(seconds === undefined ? {} : { seconds }), result: { from: join(out, 'results.jsonl'), to: join(experiments, name, 'results.jsonl') } });
  }
  return steps;
}

function describe(steps: readonly Step[]): string {
  const total = steps.reduce((sum, { seconds }) => sum + (seconds ?? 0), 0);
  return [
    `${steps.length} steps, about ${formatSeconds(total)} on one worker. The first one writes data/foundation anew.`,
    ...steps.map(({ argv, seconds }) => `  ${seconds === undefined ? 'time unknown' : formatSeconds(seconds).padStart(12)}  dreamllm ${argv.map((each) => relativeOf(each)).join(' ')}`),
  ].join('\n');
}

const relativeOf = (text: string) => (text.startsWith('/') ? relative(packageRoot(), text) : text);

function dreamllm(argv: readonly string[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...process.execArgv, siblingModule(import.meta.url, './main'), ...argv], { stdio: 'inherit', cwd: packageRoot(), signal });
    child.on('error', reject);
    child.on('exit', (status) => (status === 0 ? resolve() : reject(new Error(`dreamllm ${argv.join(' ')} ended with status ${status}. Run reproduce --from-scratch again to go on.`))));
  });
}

export default command;
