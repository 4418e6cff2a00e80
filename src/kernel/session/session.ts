import process from 'node:process';
import { setImmediate, setTimeout } from 'node:timers';
import { type MessagePort } from 'node:worker_threads';
import { bundleOf } from '../display/bundle.js';
import { type LanguageClient } from '../language/client.js';
import { preloads } from '../language/preloads.js';
import { shared, type ExecuteRequest, type FromWire, type Token } from '../wire/messages.js';
import { Evaluator, type Outcome } from './evaluate.js';
import { runtimeFailure, typeFailure, type Failure } from './failure.js';
import { CellImports } from './imports.js';
import { CellRun, currentRun, Interrupted } from './interrupt.js';
import { Output } from './output.js';
import { installRuntime } from './runtime.js';
import { CellTraces } from './traces.js';

/** How long an interrupted cell may take to notice, and how long to clean up once it has, in milliseconds. */
const patience = { notice: 500, cleanUp: 10_000 };

interface Queued {
  token: Token;
  request: ExecuteRequest;
}

/** The state of one notebook and the cells that run in it, one after the other, in this thread's global scope. */
export class Session {
  private readonly evaluator = new Evaluator();
  private readonly traces: CellTraces;
  private readonly imports: CellImports;
  private readonly output: Output;
  private readonly loaded = new Set<string>();
  private readonly queue: Queued[] = [];
  private count = 0;
  private busy = false;
  /** A cell that is being checked and does not run yet. */
  private preparing: CellRun | undefined;
  private active: { run: CellRun; settle(outcome: Outcome): void } | undefined;
  private interruptsHandled = 0;
  private awaitingAnswer: { resolve(value: string): void; reject(error: Error): void } | undefined;

  /** `cwd`: the notebook's folder. `flags`: memory shared with the wire. */
  constructor(
    cwd: string,
    wire: MessagePort,
    private readonly flags: Int32Array,
    private readonly language: LanguageClient,
  ) {
    this.traces = new CellTraces(cwd);
    this.imports = new CellImports(cwd);
    this.output = new Output(wire, flags);
    installRuntime({
      imports: this.imports,
      flags,
      output: this.output,
      currentRun: () => currentRun.getStore() ?? this.active?.run,
      stop: () => this.stopLoop(),
      ask: (prompt, password) => this.ask(prompt, password),
    });
    process.on('unhandledRejection', (error) => this.onStrayFailure(error));
    process.on('uncaughtException', (error) => this.onStrayFailure(error));
    process.on('SIGINT', () => this.interrupt(Atomics.load(this.flags, shared.interrupt) + 1));
  }

  receive(message: FromWire): void {
    switch (message.kind) {
      case 'execute':
        this.queue.push(message);
        void this.work();
        break;
      case 'interrupt':
        this.output.send({ kind: 'interrupt-seen', sequence: message.sequence });
        if (message.sequence > this.interruptsHandled) this.interrupt(message.sequence);
        break;
      case 'answer':
        this.awaitingAnswer?.resolve(message.value);
        break;
      case 'shutdown':
        process.exit(0);
    }
  }

  private async work(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    try {
      for (let next; (next = this.queue.shift()); ) await this.answer(next);
    } finally {
      this.busy = false;
    }
  }

  private async answer({ token, request }: Queued): Promise<void> {
    const count = request.storeHistory ? ++this.count : this.count;
    const run = new CellRun(token, count, request.allowStdin);
    this.output.lastRun = run;
    this.output.publish('status', { execution_state: 'busy' }, run);
    if (!request.silent) this.output.publish('execute_input', { code: request.code, execution_count: count }, run);

    const failure = await this.execute(request.code, run, request.silent);
    if (failure && !request.silent) this.output.publish('error', failure, run);
    const user_expressions = failure ? {} : await this.evaluateAll(request.userExpressions, run);
    run.ended = true;
    const skipped = failure && request.stopOnError ? await this.takeQueue() : [];
    const content = failure ? { status: 'error', ...failure } : { status: 'ok', user_expressions, payload: [] };
    this.output.send({ kind: 'reply', token, content: { ...content, execution_count: count } });
    this.output.publish('status', { execution_state: 'idle' }, run);
    for (const { token: aborted } of skipped) this.abort(aborted, count);
  }

  /** Runs a cell to its end, whichever that is. Returns why it failed, if it did. */
  private async execute(code: string, run: CellRun, silent: boolean): Promise<Failure | undefined> {
    if (code.trim() === '') return undefined;
    Atomics.store(this.flags, shared.interrupt, 0);
    const name = `In[${run.count}]`;
    this.preparing = run;
    try {
      const checked = await this.language.ask('check', { source: code, name });
      if ('problems' in checked) return typeFailure(checked.problems, code);
      this.traces.add(name, code, checked.map);
      await this.preload(checked.preloads);
      if (run.wasInterrupted) throw new Interrupted();

      const outcome = await this.settle(run, checked.js, name);
      if (outcome.status === 'stopped') return runtimeFailure(new Interrupted(), this.traces);
      if (outcome.status === 'failed') return runtimeFailure(outcome.error, this.traces);
      if (run.result && !silent) {
        const data = await currentRun.run(run, () => bundleOf(run.result!.value));
        if (data) this.output.publish('execute_result', { execution_count: run.count, data, metadata: {} }, run);
      }
      return undefined;
    } catch (error) {
      return runtimeFailure(error, this.traces);
    }
  }

  /** Resolves when the cell's code has settled, when stray work of it failed, or when it was given up after an interrupt. */
  private settle(run: CellRun, js: string, name: string): Promise<Outcome> {
    return new Promise<Outcome>((resolve) => {
      const settle = (outcome: Outcome) => {
        if (this.active?.run !== run) return;
        this.active = undefined;
        resolve(outcome);
      };
      this.active = { run, settle };
      this.preparing = undefined;
      currentRun.run(run, () =>
        this.evaluate(js, name).then(
          // Rejections that nobody handles are reported at the end of a turn of the event loop.
          (outcome) => setImmediate(() => settle(outcome.status === 'ok' && run.strayFailure ? { status: 'failed', error: run.strayFailure.error } : outcome)),
          (error: unknown) => settle({ status: 'failed', error }),
        ),
      );
    });
  }

  /** What a cell does up to its first await happens within this call. */
  private evaluate(js: string, name: string): Promise<Outcome> {
    Atomics.store(this.flags, shared.terminable, 1);
    try {
      return this.evaluator.run(js, name);
    } finally {
      Atomics.store(this.flags, shared.terminable, 0);
    }
  }

  private async preload(names: string[]): Promise<void> {
    for (const name of names) {
      if (this.loaded.has(name)) continue;
      const { module, export: from } = preloads.get(name)!;
      const loaded = await this.imports.import(module, from === '*' ? [] : [from]);
      Object.defineProperty(globalThis, name, { value: from === '*' ? loaded : loaded[from], configurable: true, writable: true });
      this.loaded.add(name);
    }
  }

  /** Values a front end wants along with the reply, by name. */
  private async evaluateAll(expressions: Record<string, string>, run: CellRun): Promise<Record<string, object>> {
    const values: Record<string, object> = {};
    for (const [name, source] of Object.entries(expressions)) {
      run.result = undefined;
      const failure = await this.execute(`(${source})`, run, true);
      const { result } = run as { result?: { value: unknown } };
      values[name] = failure ? { status: 'error', ...failure } : { status: 'ok', data: (await bundleOf(result?.value)) ?? { 'text/plain': 'undefined' }, metadata: {} };
    }
    return values;
  }

  /** Empties the queue. Whoever asks after the failed cell's reply is sent has seen the failure and is served again. */
  private async takeQueue(): Promise<Queued[]> {
    // While the cell kept this thread busy, requests may have piled up at the port.
    await new Promise((resolve) => setImmediate(resolve));
    return this.queue.splice(0);
  }

  /** Answers a cell that waited behind a failed one: it is not run. */
  private abort(token: Token, count: number): void {
    this.output.send({ kind: 'publish', token, type: 'status', content: { execution_state: 'busy' } });
    this.output.send({ kind: 'reply', token, content: { status: 'aborted', execution_count: count } });
    this.output.send({ kind: 'publish', token, type: 'status', content: { execution_state: 'idle' } });
  }

  private interrupt(sequence: number): void {
    this.interruptsHandled = sequence;
    Atomics.store(this.flags, shared.interrupt, 0);
    this.awaitingAnswer?.reject(new Interrupted());
    const { active } = this;
    if (!active) return this.preparing?.interrupt();
    active.run.interrupt();
    const giveUp = () => {
      active.run.abandon();
      active.settle({ status: 'stopped' });
    };
    setTimeout(() => (active.run.isUnwinding ? setTimeout(giveUp, patience.cleanUp) : giveUp()), patience.notice);
  }

  /** Called by a loop that found the flag raised, while messages cannot be received. */
  private stopLoop(): never {
    this.interruptsHandled = Atomics.exchange(this.flags, shared.interrupt, 0);
    const run = currentRun.getStore() ?? this.active?.run;
    run?.interrupt();
    run?.throwIfInterrupted();
    throw new Interrupted();
  }

  /** A rejection nobody handles, or an exception from a timer: it fails the cell it comes from. */
  private onStrayFailure(error: unknown): void {
    const run = currentRun.getStore() ?? this.active?.run ?? this.output.lastRun;
    if (run?.wasInterrupted && error instanceof Interrupted) return;
    if (run && !run.ended && this.active?.run === run) {
      run.strayFailure ??= { error };
      setImmediate(() => this.active?.run === run && this.active.settle({ status: 'failed', error }));
      return;
    }
    // The cell was reported as done; its output can still say what came of it.
    this.output.publish('error', runtimeFailure(error, this.traces), run);
  }

  private ask(prompt: string, password: boolean): Promise<string> {
    const { run } = this.output;
    if (!run?.allowsInput) return Promise.reject(new Error('This front end takes no input. Run the cell in a notebook, or pass the value as a parameter.'));
    this.output.send({ kind: 'ask', token: run.token, prompt, password });
    return new Promise<string>((resolve, reject) => (this.awaitingAnswer = { resolve, reject })).finally(() => (this.awaitingAnswer = undefined));
  }
}
