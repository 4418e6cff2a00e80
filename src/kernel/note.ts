import { writeSync } from 'node:fs';

/**
 * Writes a line about the kernel itself to the terminal it was started from (file descriptor 2), past `process.stderr`, whose text belongs to
 * the cell. A line that cannot be written is lost, not an error: a front end that does not read its kernel's log (a full pipe, EAGAIN) or has
 * closed it (EPIPE) must not end a session.
 */
export function note(line: string): void {
  try {
    writeSync(2, `kernel: ${line}\n`);
  } catch {
    // Nothing else would hear of it either.
  }
}
