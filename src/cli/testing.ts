import { parseArguments, type Command } from './command.js';

/** A function that runs a command with the given arguments, in this process, and returns what it printed. For tests. */
export const runner = (command: Command) => async (...argv: string[]): Promise<string> => {
  const printed: string[] = [];
  const { log } = console;
  console.log = (text: string) => printed.push(text);
  try {
    await command.run(parseArguments(command, argv), new AbortController().signal);
  } finally {
    console.log = log;
  }
  return printed.join('\n');
};
