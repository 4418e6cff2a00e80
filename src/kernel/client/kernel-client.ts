import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import * as zmq from 'zeromq';
import { kernelCommand, kernelName } from '../kernel-command.js';
import { address, readConnection, type Connection } from '../wire/connection.js';
import { Codec, type Message } from '../wire/message.js';
import { Sender } from '../wire/sender.js';

export interface StartOptions {
  /** The notebook's folder. */
  cwd: string;
  env?: NodeJS.ProcessEnv;
  /** Milliseconds until the kernel must answer. */
  timeout?: number;
  /** What the kernel writes to its terminal; by default to this process's. */
  onLog?(text: string): void;
  /** Changes to the connection file. */
  connection?: Record<string, unknown>;
  /** Another kernel than this one; the connection file's path is appended. */
  command?(connectionFile: string): string[];
}

/** A kernel's process ended when it should not have. */
export class KernelDied extends Error {
  override readonly name = 'KernelDied';
}

interface Conversation {
  onReply(message: Message): void;
  onOutput(message: Message): void;
}

/** Starts a kernel and talks to it: ZeroMQ sockets in a private folder where the system has them, local ports elsewhere. */
export class KernelClient {
  /** Rejects with `KernelDied` when the process ends. */
  readonly died: Promise<never>;
  /** Answers questions of cells. Without it they fail. */
  onInput?: (prompt: string, password: boolean) => string;
  /** Sees every published message, also those that belong to no request of this client. */
  onPublished?: (message: Message) => void;

  private readonly conversations = new Map<string, Conversation>();
  private readonly sockets = { shell: new zmq.Dealer({ linger: 0 }), control: new zmq.Dealer({ linger: 0 }), stdin: new zmq.Dealer({ linger: 0 }) };
  private readonly iopub = new zmq.Subscriber({ linger: 0, receiveHighWaterMark: 0 });
  private readonly senders: Record<keyof KernelClient['sockets'], Sender>;
  readonly codec: Codec;
  private readonly cleanUp = (): void => {
    this.process.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  };

  private constructor(
    readonly process: ChildProcess,
    readonly connection: Connection,
    private readonly folder: string,
  ) {
    this.codec = new Codec(connection.key, connection.hash);
    this.died = new Promise((_, reject) => {
      this.process.once('error', (error) => reject(new KernelDied(`The kernel could not be started: ${error.message}`)));
      this.process.once('exit', (code, signal) => reject(new KernelDied(`The kernel died (${signal ?? `exit status ${code}`}).`)));
    });
    this.died.catch(() => {}); // whoever waits for the kernel races with it
    process.once('exit', this.cleanUp); // no orphan kernel, no folder left

    // The kernel sends questions to the identity that asked for the execution.
    const identity = randomUUID();
    for (const socket of Object.values(this.sockets)) socket.routingId = identity;
    for (const channel of ['shell', 'control', 'stdin'] as const) this.sockets[channel].connect(address(connection, channel));
    this.iopub.subscribe();
    this.iopub.connect(address(connection, 'iopub'));
    this.senders = { shell: new Sender(this.sockets.shell), control: new Sender(this.sockets.control), stdin: new Sender(this.sockets.stdin) };
    void this.listen(this.sockets.shell, (message) => this.conversationOf(message)?.onReply(message));
    void this.listen(this.sockets.control, (message) => this.conversationOf(message)?.onReply(message));
    void this.listen(this.sockets.stdin, (message) => this.answer(message));
    void this.listen(this.iopub, (message) => {
      this.onPublished?.(message);
      this.conversationOf(message)?.onOutput(message);
    });
  }

  /** Starts a kernel and waits until it answers and what it publishes arrives. */
  static async start({ cwd, env = process.env, timeout = 60_000, onLog = (text) => void process.stderr.write(text), connection: changes = {}, command = kernelCommand }: StartOptions): Promise<KernelClient> {
    const folder = mkdtempSync(join(tmpdir(), 'dreamllm-kernel-'));
    const file = join(folder, 'connection.json');
    const transport = process.platform === 'win32' ? { transport: 'tcp', ip: '127.0.0.1' } : { transport: 'ipc', ip: join(folder, 'socket') };
    const firstPort = transport.transport === 'ipc' ? 1 : 49_152 + Math.floor(Math.random() * 16_000);
    const ports = Object.fromEntries(['shell', 'iopub', 'stdin', 'control', 'hb'].map((channel, i) => [`${channel}_port`, firstPort + i]));
    writeFileSync(file, JSON.stringify({ ...transport, ...ports, key: randomUUID(), signature_scheme: 'hmac-sha256', kernel_name: kernelName, ...changes }), { mode: 0o600 });

    const [program, ...args] = command(file);
    const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (bytes: Buffer) => onLog(bytes.toString()));
    child.stderr.on('data', (bytes: Buffer) => onLog(bytes.toString()));
    const client = new KernelClient(child, readConnection(file), folder);
    try {
      await client.waitUntilReady(timeout);
    } catch (error) {
      await client.close();
      throw error;
    }
    return client;
  }

  /** A late subscriber misses what was published before, so the kernel is asked until both ways work. */
  private async waitUntilReady(timeout: number): Promise<void> {
    const start = performance.now();
    while (performance.now() - start < timeout) {
      let published = false;
      const { reply, end } = this.request('kernel_info_request', {}, { onOutput: () => (published = true) });
      const answered = await Promise.race([reply, sleep(200), this.died]);
      end();
      if (answered && !published) await sleep(20);
      if (answered && published) return;
    }
    throw new Error(`The kernel did not answer within ${timeout} ms.`);
  }

  /** Sends a request. `reply` resolves with the reply's message. Call `end` when no more of its output is wanted. */
  request(type: string, content: object, { channel = 'shell', onOutput = () => {} }: { channel?: 'shell' | 'control'; onOutput?: (message: Message) => void } = {}): { reply: Promise<Message>; end(): void } {
    const frames = this.codec.encode(type, {}, content);
    const { msg_id: id } = JSON.parse(String(frames[2])) as { msg_id: string };
    const reply = new Promise<Message>((resolve) => this.conversations.set(id, { onReply: resolve, onOutput }));
    this.senders[channel].send(frames);
    return { reply, end: () => void this.conversations.delete(id) };
  }

  /** Sends anything, well-formed or not. */
  sendRaw(frames: (Buffer | string)[], channel: 'shell' | 'control' | 'stdin' = 'shell'): void {
    this.senders[channel].send(frames);
  }

  /** Asks and waits for the content of the reply. */
  async ask(type: string, content: object = {}, channel: 'shell' | 'control' = 'shell'): Promise<Record<string, unknown>> {
    const { reply, end } = this.request(type, content, { channel });
    try {
      return (await Promise.race([reply, this.died])).content;
    } finally {
      end();
    }
  }

  /** Executes a cell. Resolves with the reply's content after all output has arrived; output that comes later still reaches `onOutput`. */
  async execute(code: string, onOutput: (message: Message) => void = () => {}, options: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    let idle!: () => void;
    const whenIdle = new Promise<void>((resolve) => (idle = resolve));
    const content = { code, silent: false, store_history: true, user_expressions: {}, allow_stdin: this.onInput !== undefined, stop_on_error: true, ...options };
    const { reply } = this.request('execute_request', content, {
      onOutput: (message) => {
        onOutput(message);
        if (message.header.msg_type === 'status' && message.content.execution_state === 'idle') idle();
      },
    });
    const [message] = await Promise.race([Promise.all([reply, whenIdle]), this.died]);
    return message.content;
  }

  /** Stops the running cell; the kernel keeps its state. */
  async interrupt(): Promise<void> {
    await this.ask('interrupt_request', {}, 'control');
  }

  /** Ends the kernel, by force if it does not end by itself. */
  async close(): Promise<void> {
    if (this.isRunning) {
      this.request('shutdown_request', { restart: false }, { channel: 'control' });
      await Promise.race([this.died.catch(() => {}), sleep(3000)]);
    }
    process.removeListener('exit', this.cleanUp);
    for (const socket of [...Object.values(this.sockets), this.iopub]) socket.close();
    this.cleanUp();
  }

  get isRunning(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null && this.process.pid !== undefined;
  }

  private conversationOf({ parent_header }: Message): Conversation | undefined {
    return this.conversations.get(parent_header.msg_id);
  }

  private answer({ header, content }: Message): void {
    if (header.msg_type !== 'input_request' || !this.onInput) return;
    this.senders.stdin.send(this.codec.encode('input_reply', header, { value: this.onInput(String(content.prompt), content.password === true) }));
  }

  private async listen(socket: zmq.Dealer | zmq.Subscriber, receive: (message: Message) => void): Promise<void> {
    for await (const frames of socket) receive(this.codec.decode(frames));
  }
}
