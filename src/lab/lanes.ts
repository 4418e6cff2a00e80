import { fork } from 'node:child_process';
import { siblingModule } from '../core/process.js';
import { nanoMemory, placeWorkers, roomHere, type Room } from './placement.js';

/** How far a task is: steps of a training, for instance. */
export interface TaskProgress {
  label: string;
  done: number;
  total: number;
}

/** What a lane is asked, as JSON in its first argument. */
export interface LaneOrder {
  task: string;
  context: unknown;
  arguments: unknown;
}

/** What a lane tells its job. */
export type LaneMessage = { progress: TaskProgress } | { value: unknown; memoryMiB: number } | { failure: { message: string; stack?: string } };

/** Told when a task begins, for it may wait, and how far it is. */
export interface TaskWatch {
  onBegin?(): void;
  onProgress?(progress: TaskProgress): void;
}

export interface RunOptions extends TaskWatch {
  /** Tasks of a lower number begin first. */
  priority: number;
}

const maxLanes = 4;

/** As many lanes as processor and memory carry, four at most: a small model gains more from a second task than from a second thread. */
export const laneCount = (room: Room = roomHere()): number => placeWorkers('auto', maxLanes, { memoryPerTrial: nanoMemory }, room).workers;

/**
 * Runs the named tasks of a job in processes of their own, some at once, each with its share of the threads. A process runs one task: its memory is given back,
 * and results do not depend on what ran before.
 */
export class Lanes {
  private readonly waiting: { order: LaneOrder; options: RunOptions; begin(): void }[] = [];
  private running = 0;
  /** Memory of the largest tasks, in MiB, the largest first. */
  private readonly peaks: number[] = [];
  readonly threads: number;

  constructor(
    /** The module that runs tasks, beside this one. */
    private readonly module: string,
    private readonly context: unknown,
    private readonly signal: AbortSignal,
    /** Threads of the engine, to be divided. */
    threads: number,
    readonly count = Math.min(threads, laneCount()),
  ) {
    this.threads = Math.max(1, Math.floor(threads / count));
  }

  /** An upper bound of the memory held at once, in MiB: this process's peak and those of the largest tasks. */
  get memoryMiB(): number {
    return Math.round(process.resourceUsage().maxRSS / 1024 + this.peaks.slice(0, this.count).reduce((a, b) => a + b, 0));
  }

  /** What a process that is started beside the lanes should have in its environment. */
  get environment(): NodeJS.ProcessEnv {
    return { ...process.env, DREAMLLM_THREADS: String(this.threads) };
  }

  /** The plain-data value of a task; rejects with the task's own error. */
  async run<Value>(task: string, args: unknown, options: RunOptions): Promise<Value> {
    const order: LaneOrder = { task, context: this.context, arguments: args };
    await new Promise<void>((begin) => {
      this.waiting.push({ order, options, begin });
      this.next();
    });
    try {
      return (await this.process(order, options)) as Value;
    } finally {
      this.running--;
      this.next();
    }
  }

  private next(): void {
    if (this.running >= this.count || this.waiting.length === 0) return;
    this.waiting.sort((a, b) => a.options.priority - b.options.priority);
    this.running++;
    this.waiting.shift()!.begin();
  }

  private process(order: LaneOrder, { onBegin, onProgress }: RunOptions): Promise<unknown> {
    this.signal.throwIfAborted();
    onBegin?.();
    return new Promise((resolve, reject) => {
      const child = fork(siblingModule(import.meta.url, this.module), [JSON.stringify(order)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env: this.environment });
      const stop = () => child.kill('SIGTERM');
      this.signal.addEventListener('abort', stop);
      let outcome: Extract<LaneMessage, { value: unknown } | { failure: unknown }> | undefined;
      child.on('message', (message: LaneMessage) => {
        if ('progress' in message) onProgress?.(message.progress);
        else outcome = message;
      });
      child.on('exit', (status, killedBy) => {
        this.signal.removeEventListener('abort', stop);
        if (outcome && 'value' in outcome) {
          this.peaks.push(outcome.memoryMiB);
          this.peaks.sort((a, b) => b - a);
          resolve(outcome.value);
        } else if (outcome) reject(Object.assign(new Error(outcome.failure.message), { stack: outcome.failure.stack }));
        else if (this.signal.aborted) reject(this.signal.reason as Error);
        else reject(new Error(`The process of "${order.task}" ended ${killedBy ? `by ${killedBy}` : `with status ${status}`} before it had a result. Run the job again: it goes on where it was.`));
      });
    });
  }
}

/** What a task is given beside its arguments. */
export interface LaneTools {
  signal: AbortSignal;
  report(progress: TaskProgress): void;
}

export type LaneTasks<Context> = Readonly<Record<string, (context: Context, args: never, tools: LaneTools) => Promise<unknown>>>;

/** The other end: runs the task that this process was started for. */
export async function runLane<Context>(tasks: LaneTasks<Context>): Promise<void> {
  const { task, context, arguments: args } = JSON.parse(process.argv[2]) as LaneOrder;
  const controller = new AbortController();
  // When the job dies, the channel closes.
  process.on('disconnect', () => process.exit(4));
  process.on('SIGTERM', () => controller.abort(new Error('Told to stop.')));
  const tell = (message: LaneMessage) => new Promise<void>((told) => process.send!(message, undefined, undefined, () => told()));
  let last = -Infinity;
  const report = (progress: TaskProgress) => {
    const now = performance.now();
    if (now - last < 200) return;
    last = now;
    void tell({ progress });
  };
  try {
    const value = await tasks[task](context as Context, args as never, { signal: controller.signal, report });
    await tell({ value: value ?? null, memoryMiB: process.resourceUsage().maxRSS / 1024 });
    process.exit(0);
  } catch (error) {
    await tell({ failure: { message: (error as Error).message, stack: (error as Error).stack } });
    process.exit(1);
  }
}
