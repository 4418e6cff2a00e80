import type { MalformedPolicy } from '../data/formats/intake.js';
import { UsageError, type Arguments } from './command.js';

/** What `--skip-up-to SHARE` asks for; without it the first malformed record stops. */
export function malformedPolicy(values: Arguments['values']): MalformedPolicy {
  const text = values['skip-up-to'];
  if (text === undefined) return 'stop';
  const share = Number(text);
  if (!(share >= 0 && share < 1)) throw new UsageError(`--skip-up-to: expected a share of 0 to 1, found "${String(text)}".`);
  return { skipUpTo: share };
}
