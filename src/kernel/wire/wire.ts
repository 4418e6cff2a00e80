import { Session as Inspector } from 'node:inspector';
import process from 'node:process';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import * as zmq from 'zeromq';
import { languageInfo } from '../kernel-command.js';
import { LanguageClient } from '../language/client.js';
import { note } from '../note.js';
import { address, type Connection } from './connection.js';
import { History } from './history.js';
import { Codec, protocolVersion, type Header, type Message } from './message.js';
import { shared, type ExecuteRequest, type FromWire, type Token, type ToWire } from './messages.js';
import { toCodePoints, toUnits } from './positions.js';
import { Sender } from './sender.js';

/**
 * The thread that holds the sockets. It answers what needs no cell to run (heartbeats, completions, kernel information)
 * also while one does, and can stop a cell whose thread listens no more.
 */
export interface WireData {
  connection: Connection;
  memory: SharedArrayBuffer;
  language: MessagePort;
  versions: { kernel: string; typescript: string };
}

const { connection, memory, language: languagePort, versions } = workerData as WireData;
const cells = parentPort!;
const flags = new Int32Array(memory);
const codec = new Codec(connection.key, connection.hash);
const language = new LanguageClient(languagePort);
const history = new History();

const sockets = {
  shell: new zmq.Router({ linger: 200 }),
  control: new zmq.Router({ linger: 200 }),
  stdin: new zmq.Router({ linger: 200 }),
  iopub: new zmq.Publisher({ linger: 200, sendHighWaterMark: 0 }),
  hb: new zmq.Router({ linger: 0 }),
};
const senders = { shell: new Sender(sockets.shell), control: new Sender(sockets.control), stdin: new Sender(sockets.stdin), iopub: new Sender(sockets.iopub) };

/** Requests handed to the cell thread. The oldest are forgotten: output of long-dead cells has nowhere to go. */
const requests = new Map<Token, { header: Header; identities: Buffer[]; code: string; storeHistory: boolean }>();
let lastToken = 0;

const publish = (type: string, parent: Message['parent_header'], content: object) => senders.iopub.send(codec.encode(type, parent, content, [type]));

/** Text on its way out. Neighbouring prints of one cell travel together. */
let text: { token: Token; name: string; chunks: string[]; length: number } | undefined;
let textTimer: NodeJS.Timeout | undefined;

function flushText(): void {
  clearTimeout(textTimer);
  textTimer = undefined;
  if (!text) return;
  const { token, name, chunks } = text;
  text = undefined;
  publish('stream', requests.get(token)?.header ?? {}, { name, text: chunks.join('') });
}

function addText(token: Token, name: string, chunk: string): void {
  if (text && (text.token !== token || text.name !== name || text.length > 65_536)) flushText();
  text ??= { token, name, chunks: [], length: 0 };
  text.chunks.push(chunk);
  text.length += chunk.length;
  textTimer ??= setTimeout(flushText, 10);
}

cells.on('message', (message: ToWire) => {
  if (message.kind === 'stream') {
    Atomics.sub(flags, shared.backlog, 1);
    Atomics.notify(flags, shared.backlog);
    addText(message.token, message.name, message.text);
    return;
  }
  flushText();
  if (message.kind === 'interrupt-seen') interruptsSeen = message.sequence;
  else if (message.kind === 'close') void close();
  else {
    const request = requests.get(message.token);
    if (!request) return;
    const { header, identities } = request;
    if (message.kind === 'publish') {
      if (message.type === 'execute_input' && request.storeHistory) history.add((message.content as { execution_count: number }).execution_count, request.code);
      publish(message.type, header, message.content);
    } else if (message.kind === 'reply') {
      senders.shell.send(codec.encode('execute_reply', header, message.content, identities));
    } else {
      senders.stdin.send(codec.encode('input_request', header, { prompt: message.prompt, password: message.password }, identities));
    }
  }
});

const tell = (message: FromWire) => cells.postMessage(message);

/** Requests answered here, by type; the reply's type follows from the request's. */
const answers: Record<string, (content: Record<string, unknown>) => object | Promise<object>> = {
  kernel_info_request: () => ({
    status: 'ok',
    protocol_version: protocolVersion,
    implementation: 'dreamllm',
    implementation_version: versions.kernel,
    language_info: { ...languageInfo, version: versions.typescript, codemirror_mode: { name: 'javascript', typescript: true }, nbconvert_exporter: 'script' },
    banner: `DreamLLM ${versions.kernel}: TypeScript ${versions.typescript} on Node ${process.version}`,
    help_links: [
      { text: 'TypeScript', url: 'https://www.typescriptlang.org/docs/' },
      { text: 'TensorFlow.js', url: 'https://js.tensorflow.org/api/latest/' },
      { text: 'Plotly', url: 'https://plotly.com/javascript/' },
    ],
    debugger: false,
  }),
  comm_info_request: () => ({ status: 'ok', comms: {} }),
  history_request: (content) => history.answer(content),
  is_complete_request: ({ code }) => language.ask('completeness', { source: String(code) }),
  complete_request: async ({ code, cursor_pos }) => {
    const source = String(code);
    const { start, end, matches } = await language.ask('complete', { source, position: toUnits(source, position(source, cursor_pos)) });
    return { status: 'ok', matches, cursor_start: toCodePoints(source, start), cursor_end: toCodePoints(source, end), metadata: {} };
  },
  inspect_request: async ({ code, cursor_pos }) => {
    const source = String(code);
    const found = await language.ask('inspect', { source, position: toUnits(source, position(source, cursor_pos)) });
    return { status: 'ok', found: found !== undefined, data: found === undefined ? {} : { 'text/plain': found }, metadata: {} };
  },
  interrupt_request: () => {
    interrupt();
    return { status: 'ok' };
  },
  shutdown_request: ({ restart }) => {
    shutdown();
    return { status: 'ok', restart: restart === true };
  },
};

const position = (source: string, given: unknown) => (typeof given === 'number' ? given : [...source].length);

async function handle(channel: 'shell' | 'control', message: Message): Promise<void> {
  const { header, identities, content } = message;
  if (header.msg_type === 'execute_request') return execute(message);
  if (header.msg_type === 'comm_open') return publish('comm_close', header, { comm_id: content.comm_id, data: {} }); // no widgets here
  const answer = answers[header.msg_type];
  if (!answer) return; // the protocol asks kernels to ignore what they do not know, such as comm_msg and debug_request
  publish('status', header, { execution_state: 'busy' });
  let reply: object;
  try {
    reply = await answer(content);
  } catch (error) {
    reply = { status: 'error', ename: 'KernelError', evalue: (error as Error).message, traceback: [] };
  }
  senders[channel].send(codec.encode(header.msg_type.replace(/request$/, 'reply'), header, reply, identities));
  publish('status', header, { execution_state: 'idle' });
}

function execute({ header, identities, content }: Message): void {
  const expressions = content.user_expressions;
  const request: ExecuteRequest = {
    code: typeof content.code === 'string' ? content.code : '',
    silent: content.silent === true,
    storeHistory: content.silent !== true && content.store_history !== false,
    userExpressions: typeof expressions === 'object' && expressions !== null ? Object.fromEntries(Object.entries(expressions).map(([name, value]) => [name, String(value)])) : {},
    allowStdin: content.allow_stdin !== false,
    stopOnError: content.stop_on_error !== false,
  };
  const token = ++lastToken;
  requests.set(token, { header, identities, code: request.code, storeHistory: request.storeHistory });
  requests.delete(token - 10_000);
  tell({ kind: 'execute', token, request });
}

let interruptsSent = 0;
let interruptsSeen = 0;

/**
 * Asks the running cell to stop: its loops see the flag, its awaits the message. When its thread has not even seen the
 * message after a second, it is inside a library's own loop. V8 can end that where the inspector stands below it; after
 * an await Node's own frames do, and cutting through them would take the process down.
 */
function interrupt(): void {
  const sequence = ++interruptsSent;
  Atomics.store(flags, shared.interrupt, sequence);
  tell({ kind: 'interrupt', sequence });
  let seconds = 0;
  const timer = setInterval(() => {
    if (interruptsSeen >= sequence) return clearInterval(timer);
    if (Atomics.load(flags, shared.terminable) === 1) {
      inspector ??= connectInspector();
      inspector.post('Runtime.terminateExecution');
    } else if (++seconds === 3) {
      addText(lastToken, 'stderr', 'The cell is inside a library call that cannot be interrupted. Wait for it, or restart the kernel.\n');
    }
  }, 1000);
}

let inspector: Inspector | undefined;
function connectInspector(): Inspector {
  const session = new Inspector();
  session.connectToMainThread();
  return session;
}

function shutdown(): void {
  tell({ kind: 'shutdown' });
  // A thread that is busy for good cannot end the process by itself.
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), 2000);
}

async function close(): Promise<void> {
  flushText();
  await Promise.race([Promise.all(Object.values(senders).map(({ done }) => done)), new Promise((resolve) => setTimeout(resolve, 300))]);
  for (const socket of Object.values(sockets)) socket.close();
  Atomics.store(flags, shared.closed, 1);
  Atomics.notify(flags, shared.closed);
}

/** Reads a channel until its socket closes. What cannot be read is dropped, as the protocol demands, with a note. */
async function listen(channel: 'shell' | 'control' | 'stdin'): Promise<void> {
  for await (const frames of sockets[channel]) {
    let message: Message;
    try {
      message = codec.decode(frames);
    } catch (error) {
      note(`ignoring a message on ${channel}: ${(error as Error).message}`);
      continue;
    }
    if (channel === 'stdin') {
      if (message.header.msg_type === 'input_reply') tell({ kind: 'answer', value: String(message.content.value ?? '') });
    } else void handle(channel, message);
  }
}

async function echoHeartbeats(): Promise<void> {
  for await (const frames of sockets.hb) await sockets.hb.send(frames);
}

/** A front end that was killed cannot tell its kernel, which then belongs to nobody. */
function endWithParent(): void {
  const parent = process.ppid;
  setInterval(() => process.ppid !== parent && process.kill(process.pid, 'SIGKILL'), 2000).unref();
}

for (const channel of ['shell', 'iopub', 'stdin', 'control', 'hb'] as const) await sockets[channel].bind(address(connection, channel));
publish('status', {}, { execution_state: 'starting' });
void Promise.all([listen('shell'), listen('control'), listen('stdin'), echoHeartbeats()]).catch((error: Error) => {
  if (Atomics.load(flags, shared.closed) === 0) note(error.message);
});
endWithParent();
tell({ kind: 'ready' });
