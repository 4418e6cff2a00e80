import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isAlive, thisProcess, type Holder } from '../train/lock.js';
import { readJson } from './files.js';
import { claim } from './lease.js';

const me = JSON.stringify(thisProcess());

/**
 * Makes `folder` once for all processes that want it: one claims it and works, the others wait until its `result.json` is there. A claim of this
 * machine is taken over when its process is gone, at once, and never while it lives, however long it was silent: a machine that slept wakes with all
 * its processes. A claim of another machine is taken over when it has been silent for `ttl` milliseconds.
 */
export async function onceForAll(folder: string, { ttl = 60_000, signal }: { ttl?: number; signal?: AbortSignal }, work: () => Promise<void>): Promise<void> {
  const claims = `${folder}.claim`;
  const isDone = () => readJson(join(folder, 'result.json')) !== undefined;
  while (!isDone()) {
    signal?.throwIfAborted();
    const lease = claim(claims, me, ttl, lives);
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

/** Whether the process that calls itself so is alive; of another machine's it cannot be known. */
function lives(worker: string): boolean | undefined {
  const holder = JSON.parse(worker) as Holder;
  return holder.host === hostname() ? isAlive(holder) : undefined;
}
