import { setTimeout as pause } from 'node:timers/promises';
import { runLane, type LaneTools } from './lanes.js';

// A process with small tasks, for tests.
void runLane({
  double: async ({ offset }: { offset: number }, { x }: { x: number }) => 2 * x + offset,
  span: async (_: unknown, { ms }: { ms: number }, { report }: LaneTools) => {
    const from = Date.now();
    report({ label: 'span', done: 1, total: 2 });
    await pause(ms);
    return { from, to: Date.now() };
  },
  fail: async () => {
    throw new Error('This task fails.');
  },
  die: async () => process.kill(process.pid, 'SIGKILL'),
  wait: (_: unknown, __: unknown, { signal }: LaneTools) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
});
