import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { CellChecker, completeness } from './checker.js';
import { type Answer, type Ask } from './protocol.js';

/** The kernel and the wire each ask over a port of their own, so completions are answered while a cell runs. */
export interface LanguageWorkerData {
  cwd: string;
  ports: MessagePort[];
}

const { cwd, ports } = workerData as LanguageWorkerData;
const checker = new CellChecker(cwd);

function answer(question: Ask): unknown {
  switch (question.kind) {
    case 'check':
      return checker.check(question.ask.source, question.ask.name);
    case 'complete':
      return checker.complete(question.ask.source, question.ask.position);
    case 'inspect':
      return checker.inspect(question.ask.source, question.ask.position);
    case 'completeness':
      return completeness(question.ask.source);
  }
}

for (const port of ports) {
  port.on('message', (question: Ask) => {
    let reply: Answer;
    try {
      reply = { id: question.id, answer: answer(question) };
    } catch (error) {
      reply = { id: question.id, error: (error as Error).stack ?? String(error) };
    }
    port.postMessage(reply);
  });
}
parentPort!.postMessage('ready');
