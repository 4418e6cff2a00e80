import { readdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { readJson } from './files.js';
import { claim } from './lease.js';

const me = `${hostname()}:${process.pid}`;

/**
 * Makes `folder` once for all processes that want it: one claims it and works, the others wait until its `result.json` is there. The claim of a
 * process that died on this machine is taken over at once, that of another machine when it has been silent for `ttl` milliseconds.
 */
export async function onceForAll(folder: string, { ttl = 60_000, signal }: { ttl?: number; signal?: AbortSignal }, work: () => Promise<void>): Promise<void> {
  const claims = `${folder}.claim`;
  const isDone = () => readJson(join(folder, 'result.json')) !== undefined;
  while (!isDone()) {
    signal?.throwIfAborted();
    const lease = claim(claims, me, ttl) ?? (holderDied(claims) ? claim(claims, me, -1) : undefined);
    if (!lease) {
      await pause(Math.min(1000, ttl / 4));
      continue;
    }
    const heartbeat = setInterval(() => lease.renew(), ttl / 4);
    try {
      if (!isDone()) await work();
    } finally {
      clearInterval(heartbeat);
      lease.release();
    }
  }
}

/** Whether the newest claim is of a process of this machine that is gone. */
function holderDied(claims: string): boolean {
  const tokens = readdirSync(claims).flatMap((name) => (/^lease\.\d+$/.test(name) ? [Number(name.slice(6))] : []));
  const text = readFileSync(join(claims, `lease.${Math.max(...tokens)}`), 'utf8');
  if (!text) return false; // being written
  const [host, pid] = (JSON.parse(text) as { worker: string }).worker.split(':');
  if (host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
