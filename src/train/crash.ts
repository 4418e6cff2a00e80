import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { latestCheckpoint, RunFolder } from './run-folder.js';

const steps = 7;

/**
 * The smallest training there is, for tests that kill it at every change of a file: its parameter is a hash, and a step hashes it again. It begins, logs,
 * saves, prunes and finishes as the loop does, and goes on where an earlier process stopped.
 */
export function countUp(path: string): void {
  const isOld = existsSync(join(path, 'config.json'));
  const run = isOld ? RunFolder.resume(path, { steps }) : RunFolder.create(path, { settings: { steps } });
  let step = 0;
  let value = 'start';
  if (isOld) {
    const checkpoint = latestCheckpoint(path, (message) => run.append({ type: 'damaged-checkpoint', message })) as { folder: string; state: { step: number } } | undefined;
    if (checkpoint) {
      step = checkpoint.state.step;
      value = readFileSync(join(checkpoint.folder, 'value'), 'utf8');
      run.dropAfter(step);
      run.prune(1, 2);
    }
    run.append({ type: 'resume', step });
  }
  for (; step < steps; ) {
    value = createHash('sha256').update(value).digest('hex');
    run.append({ type: 'step', step, loss: parseInt(value.slice(0, 6), 16) });
    step++;
    if (step % 2 !== 0) continue;
    run.saveCheckpoint(String(step), { step }, (folder) => writeFileSync(join(folder, 'value'), value));
    run.prune(1, 2);
  }
  run.saveCheckpoint('final', { step }, (folder) => writeFileSync(join(folder, 'value'), value));
  run.finish({ value });
  run.close();
}
