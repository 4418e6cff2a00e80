import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { writeAtomically } from '../core/safetensors.js';

/** Writing so that a reader never sees a half-written file, whatever moment the process or the machine dies. */

export const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

/** Replaces `path` by `text`: written beside it, flushed to the disk, then renamed over it. */
export function writeTextAtomically(path: string, text: string): void {
  try {
    writeAtomically(path, (write) => write(Buffer.from(text)));
    flushFolder(dirname(path));
  } catch (error) {
    throw explainWrite(error, path);
  }
}

/** `write` may take only a part of what it is given, as it does when the disk fills up; the next call then says why. */
export function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done);
}

/** Makes renames and new names in `folder` durable. */
export function flushFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Turns "no space" and "file too large" into a sentence with a remedy; anything else is returned as it is. */
export function explainWrite(error: unknown, path: string): Error {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new Error(
      `${path} could not be written: ${code === 'EFBIG' ? 'the file would pass the size limit' : 'the disk is full'} (${code}). ` +
        'Nothing half-written was left. Free some space and run again with --resume.',
      { cause: error },
    );
  }
  return error as Error;
}
