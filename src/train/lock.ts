import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process, named so that its being alive can be asked on its machine. */
export interface Holder {
  pid: number;
  host: string;
  /** When the process started, in the kernel's ticks, so that a reused process id is not taken for it. Absent without /proc. */
  startTicks?: string;
}

export const thisProcess = (): Holder => ({ pid: process.pid, host: hostname(), startTicks: startTicks(process.pid) });

/**
 * Lets one process write a folder. The lock file names its holder; one whose holder is gone is taken over. Returns the release.
 * On a file system shared by machines a lock of another host cannot be tested and is respected.
 */
export function lockFolder(path: string): () => void {
  // The lock appears with its content: the file is written under another name and linked to the lock's.
  const draft = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  writeFileSync(draft, JSON.stringify(thisProcess()));
  try {
    for (;;) {
      try {
        linkSync(draft, path);
        return () => rmSync(path, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const holder = readHolder(path);
      if (!holder) continue; // released in between
      if (isAlive(holder)) {
        throw new Error(
          `${path} is held by process ${holder.pid} on ${holder.host}, and a run has one writer. ` +
            'Wait for it, stop it, or choose another folder. Only if that process cannot be alive, delete the lock file.',
        );
      }
      // Whoever wins the rename removes the stale lock; the others find it gone and try again.
      const stale = `${draft}.stale`;
      try {
        renameSync(path, stale);
        rmSync(stale);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Whether a living process holds the lock at `path`. */
export function isHeld(path: string): boolean {
  const holder = readHolder(path);
  return holder !== undefined && isAlive(holder);
}

function readHolder(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`${path} is not a lock file of this program. Look at it, and delete it if nothing writes here.`, { cause: error });
  }
}

/** Whether the process lives; of another machine's, which cannot be asked, it is assumed. */
export function isAlive({ pid, host, startTicks: ticks }: Holder): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const now = startTicks(pid);
  return ticks === undefined || now === undefined || now === ticks;
}

/** Field 22 of /proc/PID/stat; the name in field 2 may hold spaces, so counting starts after its closing bracket. */
function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined; // no /proc on this system
  }
}
