import { join } from 'node:path';
import { packageRoot } from '../core/process.js';
import { openJob } from '../lab/job.js';
import { publish } from '../lab/publish.js';
import { generatedDocuments, reproduce } from '../lab/reproduce.js';
import { UsageError, type Command } from './command.js';

const command: Command = {
  name: 'publish',
  summary: 'Makes a finished main job the committed one: record, contact sheets, executed chapters, then tables, figures and the README from them.',
  usage: '[JOB]',
  options: {},
  async run({ positionals: [path = 'runs/start', ...more] }) {
    if (more.length) throw new UsageError(`publish takes one folder of a job, found ${more.length + 1}.`);
    const root = packageRoot();
    for (const file of publish(openJob(path), root)) console.log(file);
    const experiments = join(root, 'experiments');
    await reproduce({ experiments, out: join(experiments, 'reproduced'), documents: generatedDocuments(root), say: (line) => console.log(line) });
  },
};

export default command;
