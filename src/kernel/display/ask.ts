import { createInterface } from 'node:readline/promises';
import process from 'node:process';
import { kernelHooks } from './hooks.js';

/** Asks the reader for a line of text. `password` hides what is typed. Rejects where nobody can answer, as in headless runs. */
export async function ask(prompt: string, { password = false } = {}): Promise<string> {
  const kernel = kernelHooks();
  if (kernel) return kernel.ask(prompt, password);
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return await terminal.question(prompt);
  } finally {
    terminal.close();
  }
}
