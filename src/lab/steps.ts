import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { duration } from '../train/progress.js';
import { contentHash } from './content-hash.js';
import { readJson } from './files.js';
import { writeTextAtomically } from '../train/files.js';

/** One part of a long job. Its value is plain data; pictures and models lie in files that it names. */
export interface Step<Value = unknown> {
  name: string;
  /** What it is, for the line that announces it. */
  title: string;
  /** Seconds that it took on the machine that the estimates were made on; only the proportions matter. */
  seconds: number;
  /** What decides the value: another identity means doing it again. */
  identity: unknown;
  run(): Promise<Value>;
}

interface Done {
  identity: string;
  seconds: number;
  value: unknown;
}

/**
 * Runs steps one after the other, each at most once for each identity: what is done is read from `folder`. Estimates the time left from the
 * proportions of the steps and the pace so far, and says what each step took.
 */
export class StepRunner {
  private spent = 0;
  private expected = 0;
  private left: number;
  private position = 0;
  readonly times: { name: string; title: string; seconds: number; cached: boolean }[] = [];

  constructor(
    private readonly folder: string,
    private readonly plan: readonly Pick<Step, 'name' | 'seconds'>[],
    private readonly say: (line: string) => void,
  ) {
    mkdirSync(folder, { recursive: true });
    this.left = plan.reduce((sum, { seconds }) => sum + seconds, 0);
  }

  async run<Value>(step: Step<Value>): Promise<Value> {
    if (!this.plan.some(({ name }) => name === step.name)) throw new Error(`Step "${step.name}" is not in the plan.`);
    const file = join(this.folder, `${step.name}.json`);
    const identity = contentHash(step.identity);
    const done = readJson<Done>(file);
    this.position++;
    this.left -= step.seconds;
    const label = `[${this.position}/${this.plan.length}] ${step.title}`;
    if (done?.identity === identity) {
      this.say(`${label}: done before, in ${duration(done.seconds)}`);
      this.times.push({ name: step.name, title: step.title, seconds: done.seconds, cached: true });
      return done.value as Value;
    }
    const pace = this.expected > 0 ? this.spent / this.expected : 1;
    this.say(`${label} … about ${duration(step.seconds * pace)}, then ${duration(this.left * pace)} more`);
    const start = performance.now();
    const value = await step.run();
    const seconds = (performance.now() - start) / 1000;
    this.spent += seconds;
    this.expected += step.seconds;
    writeTextAtomically(file, JSON.stringify({ identity, seconds, value } satisfies Done));
    this.times.push({ name: step.name, title: step.title, seconds, cached: false });
    return value;
  }
}
