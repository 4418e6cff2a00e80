import { availableParallelism } from 'node:os';

/** What a machine has left for a sweep. */
export interface Room {
  cores: number;
  /** Free memory in bytes. */
  memory: number;
}

/** What this process may still use. Limits of a container count. */
export const roomHere = (): Room => ({ cores: availableParallelism(), memory: process.availableMemory() });

export interface Placement {
  workers: number;
  /** Threads for each worker. */
  threads: number;
  /** Why there are not more workers than these, or not as many as were asked for. */
  reason?: string;
}

const gibibyte = 2 ** 30;

/**
 * Memory of a process that trains or measures a model of nano's size, in GiB. The parts of the main job hold at most 0.85 of them; models of one and a half times
 * its width and depth, which a sweep has, take more.
 */
export const nanoMemory = 1.25;

/**
 * Spreads worker processes over a machine: as many as there are cores, open trials and memory for, or as many as were asked for if memory allows them. Cores are
 * shared out evenly as threads. One worker is always placed: where even that is more than the memory holds, the reason says so.
 */
export function placeWorkers(
  asked: number | 'auto', trials: number, { memoryPerTrial, maxWorkers = Infinity }: { memoryPerTrial?: number; maxWorkers?: number }, { cores, memory }: Room,
): Placement {
  const wanted = Math.max(1, Math.min(asked === 'auto' ? cores : asked, Math.max(1, trials), maxWorkers));
  const fitting = memoryPerTrial === undefined ? Infinity : Math.floor(memory / (memoryPerTrial * gibibyte));
  const workers = Math.max(1, Math.min(wanted, fitting));
  const place = (reason?: string): Placement => ({ workers, threads: Math.max(1, Math.floor(cores / workers)), ...(reason ? { reason } : {}) });
  const room = `${(memory / gibibyte).toFixed(1)} GiB are free and a trial takes about ${memoryPerTrial} GiB`;
  if (fitting < 1) return place(`${room}: it may not fit. Close other programs, or measure less.`);
  if (workers < wanted) return place(`${room}, so ${workers} of ${wanted} workers ${workers === 1 ? 'is' : 'are'} started.`);
  if (asked !== 'auto' && asked > maxWorkers) return place(`This sweep measures what workers beside each other would disturb, so ${maxWorkers} of ${asked} is started.`);
  return place();
}
