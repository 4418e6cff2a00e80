import { readdirSync, readFileSync, statSync } from 'node:fs';
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
    const lives = holderLives(claims);
    const lease = lives === true ? undefined : claim(claims, me, lives === false ? -1 : ttl);
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

/** Whether the process of the newest claim is alive; undefined without a claim that holds, or where it cannot be known. */
function holderLives(claims: string): boolean | undefined {
  try {
    const tokens = readdirSync(claims).flatMap((name) => (/^lease\.\d+$/.test(name) ? [Number(name.slice(6))] : []));
    const path = join(claims, `lease.${Math.max(...tokens)}`);
    if (statSync(path).mtimeMs === 0) return undefined; // given up
    const holder = JSON.parse((JSON.parse(readFileSync(path, 'utf8')) as { worker: string }).worker) as Holder;
    return holder.host === hostname() ? isAlive(holder) : undefined;
  } catch (error) {
    // Not claimed yet, or being written: then its age decides.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
