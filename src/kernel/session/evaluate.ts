import inspector from 'node:inspector';

/** How a script ended: `stopped` when its execution was terminated from another thread. */
export type Outcome = { status: 'ok' } | { status: 'failed'; error: unknown } | { status: 'stopped' };

/**
 * Runs scripts in this thread's global scope with V8's REPL mode: top-level await, and `let` and `class` that may be
 * declared again. The inspector is how Node offers it.
 */
export class Evaluator {
  private readonly session = new inspector.Session();
  private thrown: unknown;
  private readonly globalObject: Promise<string>;

  constructor() {
    this.session.connect();
    // `callFunctionOn` wants an object to be called on.
    this.globalObject = this.post('Runtime.evaluate', { expression: 'globalThis' }).then(({ result }) => result.objectId!);
  }

  /** Resolves when the script has settled. `name` is what stack traces call it. */
  async run(js: string, name: string): Promise<Outcome> {
    const parameters = { expression: `${js}\n//# sourceURL=${name}`, replMode: true, awaitPromise: true, objectGroup: name };
    let reply: Awaited<ReturnType<typeof this.evaluate>>;
    try {
      reply = await this.evaluate(parameters);
    } catch (error) {
      if ((error as { code?: string }).code === 'ERR_INSPECTOR_COMMAND') return { status: 'stopped' };
      throw error;
    }
    try {
      return reply.exceptionDetails ? { status: 'failed', error: await this.exception(reply.exceptionDetails) } : { status: 'ok' };
    } finally {
      // The inspector would keep what it reported alive for good.
      this.session.post('Runtime.releaseObjectGroup', { objectGroup: name });
    }
  }

  private evaluate(parameters: object) {
    return this.post('Runtime.evaluate', parameters as inspector.Runtime.EvaluateParameterType);
  }

  private post(method: 'Runtime.evaluate', parameters: inspector.Runtime.EvaluateParameterType): Promise<inspector.Runtime.EvaluateReturnType> {
    return new Promise((resolve, reject) => this.session.post(method, parameters, (error, reply) => (error ? reject(error) : resolve(reply))));
  }

  /** The thrown value itself; the inspector reports a description and a handle. */
  private async exception({ exception, text }: inspector.Runtime.ExceptionDetails): Promise<unknown> {
    if (!exception) return new Error(text);
    const { objectId, value, unserializableValue } = exception;
    const argument = objectId ? { objectId } : unserializableValue ? { unserializableValue } : { value };
    const hook = '__thrown__';
    Object.defineProperty(globalThis, hook, { configurable: true, value: (error: unknown) => void (this.thrown = error) });
    await new Promise<void>((resolve) => {
      void this.globalObject.then((id) =>
        this.session.post('Runtime.callFunctionOn', { functionDeclaration: `function (error) { ${hook}(error); }`, objectId: id, arguments: [argument as inspector.Runtime.CallArgument] }, () => resolve()),
      );
    });
    delete (globalThis as Record<string, unknown>)[hook];
    const { thrown } = this;
    this.thrown = undefined;
    return thrown;
  }
}
