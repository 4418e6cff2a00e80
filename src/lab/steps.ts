import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeTextAtomically } from '../train/files.js';
import { duration } from '../train/progress.js';
import { contentHash } from './content-hash.js';
import { readJson } from './files.js';
import type { TaskProgress, TaskWatch } from './lanes.js';

/** One part of a long job. */
export interface PlannedStep {
  name: string;
  /** What it is, for the line that announces it. */
  title: string;
  /** Seconds of one core that it took where the estimates were made; only the proportions matter. */
  seconds: number;
}

/** How far a job is. */
export interface JobProgress {
  /** Share of the work that is done, in [0, 1]. */
  done: number;
  /** Estimate from the pace so far; undefined in the beginning. */
  secondsLeft?: number;
  /** What is running, such as "joint sft 60/170". */
  running: string[];
}

interface Done {
  identity: string;
  seconds: number;
  value: unknown;
}

/**
 * Runs the steps of a plan, some at the same time, each at most once for each identity: what is done is read from `folder`. Says what begins, what ended and how
 * much is left, estimated from the proportions of the steps and the pace so far.
 */
export class StepRunner {
  private readonly running = new Map<PlannedStep, TaskProgress>();
  private readonly finished = new Set<PlannedStep>();
  private begun: { time: number; share: number } | undefined;
  /** How many steps were read, not run. */
  doneBefore = 0;

  /** Seconds that each step took, in the order of the plan. */
  get times(): { title: string; seconds: number }[] {
    return this.plan.flatMap(({ title, name }) => (this.seconds.has(name) ? [{ title, seconds: this.seconds.get(name)! }] : []));
  }
  private readonly seconds = new Map<string, number>();

  constructor(
    private readonly folder: string,
    private readonly plan: readonly PlannedStep[],
    private readonly say: (line: string) => void,
    private readonly onProgress: (state: JobProgress) => void = () => {},
  ) {
    mkdirSync(folder, { recursive: true });
  }

  /** The value of a step: plain data. Another `identity` means doing it again. */
  async run<Value>(name: string, identity: unknown, run: (watch: Required<TaskWatch>) => Promise<Value>): Promise<Value> {
    const step = this.plan.find((each) => each.name === name);
    if (!step) throw new Error(`Step "${name}" is not in the plan.`);
    const file = join(this.folder, `${name.replaceAll(' ', '-')}.json`);
    const hash = contentHash(identity);
    const done = readJson<Done>(file);
    if (done?.identity === hash) {
      this.doneBefore++;
      this.finish(step, done.seconds, 'done before, in');
      return done.value as Value;
    }
    let start = performance.now();
    this.begun ??= { time: start, share: this.share };
    const value = await run({
      onBegin: () => {
        start = performance.now();
      },
      onProgress: (progress) => {
        this.running.set(step, progress);
        this.onProgress(this.progress);
      },
    });
    const seconds = (performance.now() - start) / 1000;
    writeTextAtomically(file, JSON.stringify({ identity: hash, seconds, value } satisfies Done));
    this.finish(step, seconds, 'took');
    return value;
  }

  private finish(step: PlannedStep, seconds: number, verb: string): void {
    this.running.delete(step);
    this.finished.add(step);
    this.seconds.set(step.name, seconds);
    const { secondsLeft } = this.progress;
    const left = this.finished.size === this.plan.length ? '' : secondsLeft === undefined ? '' : `, about ${duration(secondsLeft)} left`;
    this.say(`[${this.finished.size}/${this.plan.length}] ${step.title}: ${verb} ${duration(seconds)}${left}`);
    this.onProgress(this.progress);
  }

  private get share(): number {
    const total = this.plan.reduce((sum, { seconds }) => sum + seconds, 0);
    const ended = [...this.finished].reduce((sum, { seconds }) => sum + seconds, 0);
    const partly = [...this.running].reduce((sum, [{ seconds }, progress]) => sum + (seconds * progress.done) / progress.total, 0);
    return (ended + partly) / total;
  }

  private get progress(): JobProgress {
    const { share, begun } = this;
    const pace = begun && share > begun.share ? (performance.now() - begun.time) / 1000 / (share - begun.share) : undefined;
    const running = [...this.running.values()].map(({ label, done, total }) => `${label} ${done}/${total}`);
    return { done: share, running, ...(pace === undefined ? {} : { secondsLeft: (1 - share) * pace }) };
  }
}
