import { AsyncLocalStorage } from 'node:async_hooks';

/** Thrown inside a cell that was interrupted. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  constructor() {
    super('The cell was interrupted.');
  }
}

/**
 * One execution of a cell. Asynchronous work it starts belongs to it, also after it has ended: that is how output,
 * failures and interrupts find their cell.
 */
export class CellRun {
  private readonly controller = new AbortController();
  /**
   * `pending`: the next await or loop turn throws. `unwinding`: it has thrown, and clean-up code runs undisturbed.
   * `abandoned`: the cell was ended from outside, and whatever of it wakes up later has to stop.
   */
  private interruption: 'none' | 'pending' | 'unwinding' | 'abandoned' = 'none';
  ended = false;
  /** The value of its last expression. */
  result: { value: unknown } | undefined;
  /** The first failure of work that nobody awaits. */
  strayFailure: { error: unknown } | undefined;

  constructor(
    /** The request this run answers; the wire knows it by this number. */
    readonly token: number,
    /** The number shown beside the cell. */
    readonly count: number,
    readonly allowsInput: boolean,
  ) {}

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get wasInterrupted(): boolean {
    return this.interruption !== 'none';
  }

  get isUnwinding(): boolean {
    return this.interruption === 'unwinding';
  }

  interrupt(): void {
    this.interruption = 'pending';
    this.controller.abort(new Interrupted());
  }

  abandon(): void {
    this.interruption = 'abandoned';
  }

  /** Throws when the run is to stop. Called by emitted code after each await. */
  throwIfInterrupted(): void {
    if (this.interruption === 'none' || this.interruption === 'unwinding') return;
    if (this.interruption === 'pending') this.interruption = 'unwinding';
    throw new Interrupted();
  }
}

/** The run that the current asynchronous context belongs to. */
export const currentRun = new AsyncLocalStorage<CellRun>();
