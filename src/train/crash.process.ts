import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/**
 * The process that crash tests kill at a chosen moment: `node crash.process.js FOLDER N` runs `countUp` and dies by SIGKILL at its N-th change of the file
 * system, of a write after half of its bytes. Without N it prints how many changes there are.
 */
const [folder, text] = process.argv.slice(2);
const last = text === undefined ? Infinity : Number(text);
let count = -Infinity; // not yet: loading modules may write caches

const die = (): never => {
  process.kill(process.pid, 'SIGKILL');
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000);
};

type Call = (...args: unknown[]) => unknown;
const calls = fs as unknown as Record<string, Call>;
for (const name of ['openSync', 'writeSync', 'writeFileSync', 'fsyncSync', 'closeSync', 'renameSync', 'linkSync', 'mkdirSync', 'rmSync', 'ftruncateSync']) {
  const call = calls[name];
  calls[name] = (...args) => {
    if (count++ !== last) return call(...args);
    const [file, bytes] = args;
    if (name === 'writeSync' && bytes instanceof Uint8Array) call(file, bytes.subarray(0, bytes.length / 2));
    return die();
  };
}
syncBuiltinESMExports();

const { countUp } = await import('./crash.js');
count = 0;
countUp(folder);
console.log(count);
