import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';

export const protocolVersion = '5.3';
const delimiter = Buffer.from('<IDS|MSG>');

export interface Header {
  msg_id: string;
  msg_type: string;
  session: string;
  username: string;
  date: string;
  version: string;
}

export interface Message {
  identities: Buffer[];
  header: Header;
  parent_header: Header | Record<string, never>;
  metadata: Record<string, unknown>;
  content: Record<string, unknown>;
}

/** Signs and reads messages of the Jupyter protocol (jupyter_client, "The Wire Protocol"). */
export class Codec {
  readonly session = randomUUID();
  private readonly seen = new Set<string>();

  constructor(
    private readonly key: string,
    private readonly hash: string,
  ) {}

  encode(type: string, parent: Message['parent_header'], content: object, identities: (Buffer | string)[] = []): (Buffer | string)[] {
    const header: Header = { msg_id: randomUUID(), msg_type: type, session: this.session, username: 'kernel', date: new Date().toISOString(), version: protocolVersion };
    const parts = [header, parent, {}, content].map((part) => JSON.stringify(part));
    return [...identities, delimiter, this.sign(parts), ...parts];
  }

  /** Throws on anything but a whole message with a fresh, right signature. Nothing is parsed before the signature is checked. */
  decode(frames: Buffer[]): Message {
    const at = frames.findIndex((frame) => frame.equals(delimiter));
    if (at < 0) throw new Error('no delimiter');
    const [signature, ...parts] = frames.slice(at + 1, at + 6);
    if (parts.length < 4) throw new Error(`${parts.length} parts, expected 4`);
    const expected = Buffer.from(this.sign(parts));
    if (signature!.length !== expected.length || !timingSafeEqual(signature!, expected)) throw new Error('wrong signature');
    const id = signature!.toString();
    if (this.seen.has(id)) throw new Error('message seen before');

    const [header, parent_header, metadata, content] = parts.map((part) => asObject(part)) as [Record<string, unknown>, Record<string, never>, Record<string, unknown>, Record<string, unknown>];
    for (const field of ['msg_id', 'msg_type']) if (typeof header[field] !== 'string') throw new Error(`header has no ${field}`);
    this.remember(id);
    return { identities: frames.slice(0, at), header: header as unknown as Header, parent_header, metadata, content };
  }

  private sign(parts: (Buffer | string)[]): string {
    const hmac = createHmac(this.hash, this.key);
    for (const part of parts) hmac.update(part);
    return hmac.digest('hex');
  }

  /** Remembers the last 65 536 signatures, as jupyter_client does, against replayed messages. */
  private remember(signature: string): void {
    this.seen.add(signature);
    if (this.seen.size > 65_536) this.seen.delete(this.seen.values().next().value!);
  }
}

function asObject(part: Buffer): Record<string, unknown> {
  const value: unknown = JSON.parse(part.toString('utf8'));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('a part is not an object');
  return value as Record<string, unknown>;
}
