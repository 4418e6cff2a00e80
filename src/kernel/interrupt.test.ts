import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pause, TestKernel, type Seen } from './testing.js';

describe('an interrupt', () => {
  let kernel: TestKernel;
  before(async () => {
    kernel = await TestKernel.start();
    await kernel.value('let n = 0; let log = ""; const keep = { state: 42 }; const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms));');
  });
  after(() => kernel.close());

  /** Starts a cell, waits until it says that it is running, interrupts it, and waits for its end. */
  async function interrupted(code: string): Promise<Seen> {
    let begun!: () => void;
    const started = new Promise<void>((resolve) => (begun = resolve));
    kernel.client.onPublished = ({ content }) => String(content.text).startsWith('begun\n') && begun();
    const running = kernel.run(`console.log("begun"); ${code}`);
    await started;
    await pause(100);
    await kernel.client.interrupt();
    return running;
  }

  /** The cell failed as interrupted, nothing of it goes on, and the kernel knows what it knew. */
  async function assertStopped({ error }: Seen): Promise<void> {
    assert.equal(error?.ename, 'Interrupted');
    assert.equal(await kernel.value('const n0 = n; await sleep(250); [keep.state, n - n0]'), '[ 42, 0 ]');
  }

  test('9: stops an asynchronous loop for good', async () => {
    await assertStopped(await interrupted('while (true) { n++; await sleep(10) }'));
  });

  test('10: stops a synchronous loop before and after an await', async () => {
    await assertStopped(await interrupted('while (true) n++'));
    await assertStopped(await interrupted('await sleep(5); for (;;) { n++ }'));
  });

  test('stops a recursion, also after an await', async () => {
    await kernel.value('const fibonacci = (k: number): number => (n++, k < 2 ? k : fibonacci(k - 1) + fibonacci(k - 2))');
    await assertStopped(await interrupted('await sleep(5); fibonacci(80)'));
  });

  test('stops a loop inside a library, before the first await', async () => {
    await kernel.value('import vm from "node:vm"; const foreign = vm.runInThisContext("() => { for (;;); }") as () => void');
    await assertStopped(await interrupted('foreign()'));
  });

  test('stops iteration over an endless asynchronous source', async () => {
    await assertStopped(await interrupted('async function* numbers() { for (;;) { yield n++; await sleep(1) } } for await (const x of numbers()) log = String(x)'));
  });

  test('stops waiting for what never comes', async () => {
    await assertStopped(await interrupted('await new Promise(() => {})'));
  });

  test('stops a loop that prints without end, and loses nothing before it', async () => {
    const { stdout, error } = await interrupted('for (let i = 0; ; i++) console.log(i)');
    assert.equal(error?.ename, 'Interrupted');
    const lines = stdout.trimEnd().split('\n').slice(1);
    assert.ok(lines.length > 100);
    lines.forEach((line, i) => assert.equal(line, String(i)));
  });

  test('lets the cell clean up', async () => {
    await kernel.value('log = ""');
    await interrupted('try { for (;;) n++ } finally { log += "closing "; await sleep(300); log += "closed" }');
    assert.equal(await kernel.value('log'), 'closing closed');
  });

  test('aborts the signal that libraries find, and reports how they ended', async () => {
    const library = `const train = (signal: AbortSignal) => new Promise((_, reject) => signal.addEventListener("abort", () => setTimeout(() => reject(new Error("stopped at step 7, checkpoint saved")), 50)));
      await train((globalThis as never as Record<symbol, AbortSignal>)[Symbol.for("notebook.signal")])`;
    const { error } = await interrupted(library);
    assert.equal(error?.evalue, 'stopped at step 7, checkpoint saved');
  });

  test('leaves timers and later cells alone', async () => {
    assert.equal(await kernel.value('await sleep(5); let ticks = 0; const timer = setInterval(() => ticks++, 5); await sleep(100); clearInterval(timer); ticks > 0'), 'true');
    await kernel.client.interrupt(); // nothing runs
    assert.equal(await kernel.value('for (let i = 0; i < 1000; i++); await sleep(5); "undisturbed"'), 'undisturbed');
  });

  test('stops a cell that is still being checked', async () => {
    const announced = new Promise<void>((resolve) => (kernel.client.onPublished = ({ header }) => header.msg_type === 'execute_input' && resolve()));
    const running = kernel.run('import * as everything from "@tensorflow/tfjs"; while (true) n++');
    await announced;
    await kernel.client.interrupt();
    await assertStopped(await running);
  });

  test('also comes as SIGINT', async () => {
    const running = kernel.run('while (true) { n++; await sleep(10) }');
    await pause(500);
    kernel.client.process.kill('SIGINT');
    await assertStopped(await running);
  });
});
