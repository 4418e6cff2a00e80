import { existsSync } from 'node:fs';
import { serveBoard } from '../train/board/server.js';
import { UsageError, type Command } from './command.js';

const command: Command = {
  name: 'board',
  summary: 'Serves a page that follows and compares all runs: curves, samples, attention of the dream queries, speed, time left. On this machine only.',
  usage: '[DIR] [--port N]',
  options: { port: { type: 'string', help: 'a port (default: any free one)' } },
  async run({ positionals, values }, signal) {
    const [root = 'runs', ...rest] = positionals;
    if (rest.length > 0) throw new UsageError(`Expected one folder, found ${positionals.join(' ')}.`);
    if (!existsSync(root)) throw new UsageError(`${root} does not exist. Give the folder that the runs lie in.`);
    const port = Number(values.port ?? 0);
    if (!Number.isInteger(port) || port < 0 || port > 65535) throw new UsageError(`--port: expected a port number, found "${values.port}".`);
    const board = await serveBoard(root, { port });
    console.log(board.url);
    await new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }));
    await board.close();
  },
};

export default command;
