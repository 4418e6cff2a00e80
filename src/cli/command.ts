import { parseArgs, type ParseArgsConfig } from 'node:util';

/** A mistake in how a command was called or in what it was given. Printed without a stack trace; exit status 2. */
export class UsageError extends Error {}

export interface Option {
  type: 'string' | 'boolean';
  multiple?: boolean;
  short?: string;
  /** One line for `--help`. */
  help: string;
}

export interface Arguments {
  positionals: string[];
  values: Record<string, string | boolean | (string | boolean)[] | undefined>;
}

/** One command of `dreamllm`. Its file is loaded only when it is called. */
export interface Command {
  name: string;
  summary: string;
  /** Such as `STAGE --preset P --out DIR`. */
  usage: string;
  options: Record<string, Option>;
  /** Rejects or returns a non-zero status when the work failed. `signal` is aborted by Ctrl-C. */
  run(args: Arguments, signal: AbortSignal): Promise<number | void>;
}

/** Reads a command's arguments. An unknown option is a `UsageError` that names the known ones. */
export function parseArguments(command: Command, argv: string[]): Arguments {
  const options: NonNullable<ParseArgsConfig['options']> = {};
  for (const [name, { type, multiple, short }] of Object.entries(command.options)) {
    options[name] = { type, ...(multiple ? { multiple } : {}), ...(short ? { short } : {}) };
  }
  try {
    const { positionals, values } = parseArgs({ args: argv, options, allowPositionals: true, strict: true });
    return { positionals, values: values as Arguments['values'] };
  } catch (error) {
    const known = Object.keys(command.options).map((name) => `--${name}`);
    throw new UsageError(`${(error as Error).message}. dreamllm ${command.name} takes ${known.join(', ') || 'no options'}.`);
  }
}

export function helpText(command: Command): string {
  const rows = Object.entries(command.options).map(([name, { type, help }]) => [`--${name}${type === 'string' ? ' VALUE' : ''}`, help]);
  const width = Math.max(0, ...rows.map(([flag]) => flag.length));
  return [`dreamllm ${command.name} ${command.usage}`, '', command.summary, '', ...rows.map(([flag, help]) => `  ${flag.padEnd(width)}  ${help}`)].join('\n');
}
