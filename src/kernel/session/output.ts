import process from 'node:process';
import { Buffer } from 'node:buffer';
import { type MessagePort } from 'node:worker_threads';
import { shared, type ToWire } from '../wire/messages.js';
import { currentRun, type CellRun } from './interrupt.js';

/** Prints that may wait at the wire before the printing loop has to. */
const maxBacklog = 20_000;

/** Carries what cells print and show to the wire, each to the cell that caused it. */
export class Output {
  /** The cell that output without a known origin belongs to. */
  lastRun: CellRun | undefined;

  constructor(
    private readonly wire: MessagePort,
    private readonly flags: Int32Array,
  ) {
    for (const name of ['stdout', 'stderr'] as const) this.capture(name);
  }

  get run(): CellRun | undefined {
    return currentRun.getStore() ?? this.lastRun;
  }

  publish(type: string, content: object, run = this.run): void {
    if (run) this.send({ kind: 'publish', token: run.token, type, content });
  }

  send(message: ToWire): void {
    this.wire.postMessage(message);
  }

  /** `console` writes through these streams. Before the first cell they are the terminal's. */
  private capture(name: 'stdout' | 'stderr'): void {
    const stream = process[name];
    const original = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    const write = (chunk: string | Uint8Array, encoding?: unknown, callback?: unknown): boolean => {
      const { run } = this;
      if (!run) return original(chunk, encoding, callback);
      const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8');
      this.send({ kind: 'stream', token: run.token, name, text });
      this.awaitWire();
      const done = typeof encoding === 'function' ? encoding : callback;
      if (typeof done === 'function') process.nextTick(done as () => void);
      return true;
    };
    stream.write = write as typeof stream.write;
  }

  /** A loop that prints faster than the wire carries would fill the memory, so it is slowed down. */
  private awaitWire(): void {
    Atomics.add(this.flags, shared.backlog, 1);
    for (let backlog; (backlog = Atomics.load(this.flags, shared.backlog)) > maxBacklog && Atomics.load(this.flags, shared.interrupt) === 0; ) {
      Atomics.wait(this.flags, shared.backlog, backlog, 100);
    }
  }
}
