import { readFileSync } from 'node:fs';

/** The connection file a front end writes for its kernel (jupyter_client, "Connection files"). */
export interface Connection {
  transport: 'tcp' | 'ipc';
  ip: string;
  key: string;
  hash: string;
  ports: Record<Channel, number>;
}

export type Channel = 'shell' | 'iopub' | 'stdin' | 'control' | 'hb';

const channels: Channel[] = ['shell', 'iopub', 'stdin', 'control', 'hb'];

/**
 * Reads a connection file. Anyone who reaches the sockets and knows the key can run code, so a key is required and the
 * address must not leave this machine.
 */
export function readConnection(file: string): Connection {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Error(`Cannot read the connection file ${file}: ${(error as Error).message}`);
  }
  const { transport = 'tcp', ip, key, signature_scheme: scheme = 'hmac-sha256' } = fields;
  if (transport !== 'tcp' && transport !== 'ipc') throw new Error(`${file}: transport "${transport}" is unknown; expected "tcp" or "ipc".`);
  if (typeof ip !== 'string' || ip === '') throw new Error(`${file}: "ip" is missing.`);
  if (transport === 'tcp' && !isLoopback(ip)) {
    throw new Error(`${file}: refusing to listen on ${ip}. A kernel runs whatever it is sent, so only loopback addresses and IPC are served; reach it through an SSH tunnel.`);
  }
  if (typeof key !== 'string' || key === '') throw new Error(`${file}: "key" is empty. Unsigned messages are not accepted.`);
  const hash = /^hmac-(\w+)$/.exec(String(scheme))?.[1];
  if (!hash) throw new Error(`${file}: signature scheme "${scheme}" is unknown; expected "hmac-sha256".`);
  const ports = Object.fromEntries(
    channels.map((channel) => {
      const port = fields[`${channel}_port`];
      if (!Number.isInteger(port) || (port as number) < 1) throw new Error(`${file}: "${channel}_port" is ${port}; expected a port number.`);
      return [channel, port as number];
    }),
  ) as Record<Channel, number>;
  return { transport, ip, key, hash, ports };
}

function isLoopback(ip: string): boolean {
  return ip === 'localhost' || ip === '::1' || /^127(\.\d{1,3}){3}$/.test(ip);
}

/** ZeroMQ address of a channel, spelled as jupyter_client does. */
export function address({ transport, ip, ports }: Connection, channel: Channel): string {
  if (transport === 'ipc') return `ipc://${ip}-${ports[channel]}`;
  return `tcp://${ip === 'localhost' ? '127.0.0.1' : ip === '::1' ? '[::1]' : ip}:${ports[channel]}`;
}
