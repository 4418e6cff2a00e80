import { closeSync, existsSync, linkSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { writeDurably } from './files.js';

/**
 * Exactly-once claims in a shared folder, without a server. A claim is the file `lease.<token>`, created exclusively; its modification
 * time is the holder's heartbeat. When the newest lease is too old, anybody may create the next token (the fence): from then on a result
 * under an older token is rejected. `result.json` is linked into place, so it is written once and is whole.
 */
export interface Lease {
  token: number;
  /** Says that the holder is alive. Call it more often than the time to live. */
  renew(): void;
  /** Whether nobody has claimed a newer token. */
  isCurrent(): boolean;
  /** Publishes the result; false when the lease was lost or another result is there. */
  commit(result: unknown): boolean;
  /** Gives the claim up, so that the next worker need not wait for it to grow old. */
  release(): void;
}

/**
 * Claims the work kept in `folder`; undefined when it is finished or held by a live worker. That is one whose newest lease is at most `ttl` milliseconds
 * old, or, where `lives` knows, one that lives. A lease that was given up is free.
 */
export function claim(folder: string, worker: string, ttl: number, lives?: (worker: string) => boolean | undefined): Lease | undefined {
  mkdirSync(folder, { recursive: true });
  if (existsSync(join(folder, 'result.json'))) return undefined;
  const newest = newestToken(folder);
  if (newest > 0 && !isAbandoned(leasePath(folder, newest), ttl, lives)) return undefined;

  const token = newest + 1;
  const path = leasePath(folder, token);
  try {
    const file = openSync(path, 'wx');
    writeSync(file, JSON.stringify({ worker, token }));
    closeSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined;
    throw error;
  }
  // Somebody may have finished between the first look and the claim.
  if (existsSync(join(folder, 'result.json'))) return undefined;

  const isCurrent = () => newestToken(folder) === token && existsSync(path);
  return {
    token,
    isCurrent,
    renew: () => touch(path, new Date()),
    release: () => touch(path, givenUp),
    commit(result) {
      if (!isCurrent()) return false;
      const temporary = join(folder, `result.${token}.${randomUUID()}.tmp`);
      writeDurably(temporary, JSON.stringify(result, null, 1));
      try {
        linkSync(temporary, join(folder, 'result.json'));
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
        throw error;
      } finally {
        rmSync(temporary, { force: true });
      }
    },
  };
}

const leasePath = (folder: string, token: number) => join(folder, `lease.${token}`);

function newestToken(folder: string): number {
  const tokens = readdirSync(folder).flatMap((name) => (/^lease\.\d+$/.test(name) ? [Number(name.slice(6))] : []));
  return Math.max(0, ...tokens);
}

function isAbandoned(path: string, ttl: number, lives?: (worker: string) => boolean | undefined): boolean {
  try {
    const { mtimeMs } = statSync(path);
    const isAlive = lives && mtimeMs > givenUp.getTime() ? ask(path, lives) : undefined;
    return isAlive === undefined ? Date.now() - mtimeMs > ttl : !isAlive;
  } catch {
    return false; // gone between listing and looking: the next round decides
  }
}

/** What is known of the worker of a lease; nothing while the lease is being written, or where its worker is named otherwise. */
function ask(path: string, lives: (worker: string) => boolean | undefined): boolean | undefined {
  const text = readFileSync(path, 'utf8');
  try {
    return lives((JSON.parse(text) as { worker: string }).worker);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The modification time of a lease whose holder gave it up. */
const givenUp = new Date(0);

function touch(path: string, time: Date) {
  try {
    utimesSync(path, time, time);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
