import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { MessageChannel } from 'node:worker_threads';
import { LanguageClient } from './language/client.js';
import { type LanguageWorkerData } from './language/worker.js';
import { typescriptVersion } from './language/versions.js';
import { note } from './note.js';
import { packageRoot } from './packages.js';
import { Session } from './session/session.js';
import { startWorker } from './start-worker.js';
import { readConnection } from './wire/connection.js';
import { shared, type FromWire } from './wire/messages.js';
import { type WireData } from './wire/wire.js';

/**
 * The kernel process: `main.js --connection-file FILE`, started by a front end. This thread runs cells; a second holds the
 * sockets; a third knows TypeScript. Starting them together makes the kernel ready as soon as the slowest is.
 */
function main(argv: string[]): void {
  const file = argv[argv.indexOf('--connection-file') + 1];
  if (!argv.includes('--connection-file') || !file) throw new Error('usage: main.js --connection-file FILE');
  const connection = readConnection(file);
  const cwd = process.cwd();
  const memory = new SharedArrayBuffer(shared.length * Int32Array.BYTES_PER_ELEMENT);
  const flags = new Int32Array(memory);

  const forCells = new MessageChannel();
  const forWire = new MessageChannel();
  const languageData: LanguageWorkerData = { cwd, ports: [forCells.port2, forWire.port2] };
  const language = startWorker(import.meta.url, './language/worker', { workerData: languageData, transferList: [forCells.port2, forWire.port2] });
  const wireData: WireData = {
    connection,
    memory,
    language: forWire.port1,
    versions: { kernel: versionIn(join(packageRoot, 'package.json')), typescript: typescriptVersion() },
  };
  const wire = startWorker(import.meta.url, './wire/wire', { workerData: wireData, transferList: [forWire.port1] });
  for (const [name, worker] of Object.entries({ language, wire })) worker.on('error', (error) => fail(`the ${name} thread failed: ${error.stack}`));

  const session = new Session(cwd, wire as never, flags, new LanguageClient(forCells.port1));
  wire.on('message', (message: FromWire) => session.receive(message));
  process.on('exit', () => {
    // The sockets deliver what was printed last, and must be closed before their thread ends: ZeroMQ aborts otherwise. On a busy machine that takes a while.
    wire.postMessage({ kind: 'close' });
    Atomics.wait(flags, shared.closed, 0, 10_000);
  });
}

function versionIn(file: string): string {
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function fail(message: string): never {
  note(message);
  process.exit(1);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  fail((error as Error).message);
}
