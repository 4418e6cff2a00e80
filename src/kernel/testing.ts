import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KernelClient, type StartOptions } from './client/kernel-client.js';
import { packageRoot } from './packages.js';
import { type Message } from './wire/message.js';

/** What a front end sees of one executed cell. */
export interface Seen {
  status: string;
  count: number | null;
  /** Text of the result, if the cell has one. */
  value: string | undefined;
  /** All representations of the result. */
  data: Record<string, unknown> | undefined;
  stdout: string;
  stderr: string;
  error: { ename: string; evalue: string; traceback: string[] } | undefined;
  messages: Message[];
}

/** A kernel for tests that executes cells over the real wire protocol. */
export class TestKernel {
  private constructor(readonly client: KernelClient) {}

  /** `cwd` defaults to the project's notebook folder, where its packages are found. */
  static async start(options: Partial<StartOptions> = {}): Promise<TestKernel> {
    return new TestKernel(await KernelClient.start({ cwd: join(packageRoot, 'notebooks'), onLog: () => {}, ...options }));
  }

  async run(code: string, options?: Record<string, unknown>): Promise<Seen> {
    const messages: Message[] = [];
    const reply = await this.client.execute(code, (message) => messages.push(message), options);
    return seen(messages, reply);
  }

  /** Runs cells one after the other; all must succeed. Returns what the last one showed. */
  async value(...cells: string[]): Promise<string | undefined> {
    let last: Seen | undefined;
    for (const cell of cells) {
      last = await this.run(cell);
      if (last.error) throw new Error(`${cell}\nfailed with ${last.error.ename}: ${last.error.evalue}`);
    }
    return last?.value;
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

export function seen(messages: Message[], reply: Record<string, unknown>): Seen {
  const contents = (type: string) => messages.filter(({ header }) => header.msg_type === type).map(({ content }) => content);
  const text = (name: string) => contents('stream').filter((content) => content.name === name).map((content) => String(content.text)).join('');
  const data = contents('execute_result')[0]?.data as Record<string, unknown> | undefined;
  return {
    status: String(reply.status),
    count: (reply.execution_count as number | undefined) ?? null,
    value: data?.['text/plain'] as string | undefined,
    data,
    stdout: text('stdout'),
    stderr: text('stderr'),
    error: contents('error')[0] as Seen['error'],
    messages,
  };
}

export const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** A folder that is removed with the test's process. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dreamllm-test-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
