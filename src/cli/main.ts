#!/usr/bin/env node
import { helpText, parseArguments, UsageError, type Command } from './command.js';

/** Every command, by name. Each file default-exports a `Command`. */
const commands: Record<string, () => Promise<{ default: Command }>> = {
  board: () => import('./board.js'),
  bench: () => import('./bench.js'),
  data: () => import('./data.js'),
  doctor: () => import('./doctor.js'),
  chat: () => import('./chat.js'),
  convert: () => import('./convert.js'),
  eval: () => import('./eval.js'),
  foundation: () => import('./foundation.js'),
  generate: () => import('./generate.js'),
  inspect: () => import('./inspect.js'),
  kernel: () => import('./kernel.js'),
  notebook: () => import('./notebook.js'),
  parity: () => import('./parity.js'),
  plot: () => import('./plot.js'),
  publish: () => import('./publish.js'),
  reproduce: () => import('./reproduce.js'),
  start: () => import('./start.js'),
  sweep: () => import('./sweep.js'),
  table: () => import('./table.js'),
  train: () => import('./train.js'),
};

async function main(argv: string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (!name || name === '--help' || name === 'help') {
    const loaded = await Promise.all(Object.values(commands).map((load) => load()));
    const width = Math.max(0, ...loaded.map(({ default: { name } }) => name.length));
    console.log('dreamllm COMMAND …\n');
    for (const { default: command } of loaded) console.log(`  ${command.name.padEnd(width)}  ${command.summary}`);
    return name ? 0 : 2;
  }
  const load = commands[name];
  if (!load) throw new UsageError(`Unknown command "${name}". There are: ${Object.keys(commands).join(', ')}.`);
  const { default: command } = await load();
  if (rest.includes('--help')) {
    console.log(helpText(command));
    return 0;
  }
  const controller = new AbortController();
  process.once('SIGINT', () => controller.abort(new Error('Interrupted.')));
  return (await command.run(parseArguments(command, rest), controller.signal)) ?? 0;
}

main(process.argv.slice(2)).then(
  (status) => process.exit(status),
  (error: unknown) => {
    const usage = error instanceof UsageError;
    console.error(`error: ${usage || !process.env.DREAMLLM_DEBUG ? (error as Error).message : (error as Error).stack}`);
    process.exit(usage ? 2 : 1);
  },
);
