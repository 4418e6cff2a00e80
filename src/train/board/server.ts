import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { referenceFile } from '../reference-curves.js';
import { page } from './page.js';
import { aboutRun, findRuns, linesFrom, sampleNames, summarize } from './runs.js';

export interface Board {
  /** With the token that every request needs. */
  url: string;
  close(): Promise<void>;
}

/**
 * Serves one page that follows all runs below `root`, on `port` or any free one. It listens on the loopback interface only, answers only requests that name that host and
 * carry the token, and reads nothing but logs and samples of runs.
 */
export async function serveBoard(root: string, { port = 0, references = referenceFile }: { port?: number; references?: string } = {}): Promise<Board> {
  const token = randomBytes(16).toString('hex');
  const server = createServer((request, response) => {
    try {
      answer({ root: resolve(root), token, references }, request, response);
    } catch (error) {
      send(response, 500, 'text/plain', (error as Error).message);
    }
  });
  await new Promise<void>((done, failed) => {
    server.once('error', failed);
    server.listen(port, '127.0.0.1', done);
  });
  const { port: actual } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${actual}/?token=${token}`, close: () => stop(server) };
}

interface Served {
  root: string;
  token: string;
  /** File of the reference curves. */
  references: string;
}

function answer({ root, token, references }: Served, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1');
  // A foreign page can send requests here under a name of its own that resolves to this machine.
  if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(request.headers.host ?? '')) return send(response, 403, 'text/plain', 'This host is not served.');
  if (!isEqual(url.searchParams.get('token') ?? '', token)) return send(response, 403, 'text/plain', 'The token is missing or wrong: use the URL that was printed.');
  if (request.method !== 'GET') return send(response, 405, 'text/plain', 'Only GET is answered.');

  const runs = findRuns(root);
  const folderOf = () => {
    const name = url.searchParams.get('run') ?? '';
    return runs.includes(name) ? join(root, name) : undefined;
  };
  switch (url.pathname) {
    case '/':
      return send(response, 200, 'text/html; charset=utf-8', page);
    case '/plotly.js':
      return stream(response, 'text/javascript', createRequire(import.meta.url).resolve('plotly.js/dist/plotly.min.js'));
    case '/runs':
      return sendJson(response, runs.map((name) => summarize(root, name)));
    case '/events': {
      const folder = folderOf();
      return folder ? sendJson(response, linesFrom(folder, Math.max(0, Number(url.searchParams.get('from')) || 0))) : notFound(response);
    }
    case '/run': {
      const folder = folderOf();
      return folder ? sendJson(response, aboutRun(folder, references)) : notFound(response);
    }
    case '/samples': {
      const folder = folderOf();
      return folder ? sendJson(response, sampleNames(folder)) : notFound(response);
    }
    case '/sample': {
      const folder = folderOf();
      const name = url.searchParams.get('name') ?? '';
      return folder && sampleNames(folder).includes(name) ? stream(response, 'image/png', join(folder, 'samples', name)) : notFound(response);
    }
    default:
      return notFound(response);
  }
}

const headers = {
  'Cache-Control': 'no-store',
  'Referrer-Policy': 'no-referrer', // the URL holds the token
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data: blob:; frame-ancestors 'none'",
};

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { ...headers, 'Content-Type': type }).end(body);
}
const sendJson = (response: ServerResponse, value: unknown) => send(response, 200, 'application/json', JSON.stringify(value));
const notFound = (response: ServerResponse) => send(response, 404, 'text/plain', 'Not here.');

function stream(response: ServerResponse, type: string, file: string): void {
  response.writeHead(200, { ...headers, 'Content-Type': type });
  createReadStream(file).on('error', (error) => response.destroy(error)).pipe(response);
}

function isEqual(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

const stop = (server: Server) =>
  new Promise<void>((done, failed) => {
    server.closeAllConnections();
    server.close((error) => (error ? failed(error) : done()));
  });
