import { type MessagePort } from 'node:worker_threads';
import { type Answer, type Questions } from './protocol.js';

/** Asks the language worker over a port. */
export class LanguageClient {
  private lastId = 0;
  private readonly waiting = new Map<number, { resolve(answer: never): void; reject(error: Error): void }>();

  constructor(private readonly port: MessagePort) {
    port.on('message', (reply: Answer) => {
      const asked = this.waiting.get(reply.id);
      this.waiting.delete(reply.id);
      if ('error' in reply) asked?.reject(new Error(`The type checker failed: ${reply.error}`));
      else asked?.resolve(reply.answer as never);
    });
  }

  ask<K extends keyof Questions>(kind: K, ask: Questions[K]['ask']): Promise<Questions[K]['answer']> {
    return new Promise((resolve, reject) => {
      const id = ++this.lastId;
      this.waiting.set(id, { resolve, reject });
      this.port.postMessage({ id, kind, ask });
    });
  }
}
