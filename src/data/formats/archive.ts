import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { MalformedRecord } from './intake.js';
import { openTar } from './tar.js';
import { openZip } from './zip.js';

/** Files by name: of a folder, a tar or a zip. */
export interface Archive {
  names: string[];
  read(name: string): Uint8Array;
  close(): void;
}

/** `onDamage` hears of a damaged tar, of which the files before the damage can be read; without it that is an error. */
export function openArchive(path: string, onDamage?: (problem: MalformedRecord) => void): Archive {
  if (!existsSync(path)) throw new Error(`${path} does not exist. Expected a folder, a .tar or a .zip.`);
  if (statSync(path).isDirectory()) return openFolder(path);
  if (path.endsWith('.tar')) return openTar(path, onDamage);
  if (path.endsWith('.zip')) return openZip(path);
  throw new Error(`${path}: expected a folder, a .tar or a .zip.`);
}

function openFolder(folder: string): Archive {
  const walk = (below: string): string[] =>
    readdirSync(join(folder, below), { withFileTypes: true }).flatMap((entry) => {
      const name = below ? `${below}/${entry.name}` : entry.name;
      return entry.isDirectory() ? walk(name) : [name];
    });
  return { names: walk('').sort(), read: (name) => readFileSync(join(folder, name)), close: () => undefined };
}

/**
 * Names a file of an archive as one reference: `images.tar!/0001.png`. A file of a folder is its path; a
 * picture within a table is a `data:` URL. `readReference` gives its bytes and keeps
 * archives open.
 */
export const referenceTo = (archive: string, name: string): string => (statSync(archive).isDirectory() ? join(archive, name) : `${archive}!/${name}`);

const open = new Map<string, Archive>();

export function readReference(reference: string): Uint8Array {
  if (reference.startsWith('data:')) return Buffer.from(reference.slice(reference.indexOf(',') + 1), 'base64');
  const at = reference.indexOf('!/');
  if (at < 0) return readFileSync(reference);
  const path = reference.slice(0, at);
  let archive = open.get(path);
  if (!archive) open.set(path, (archive = openArchive(path, () => {}))); // its damage was told when its records were listed
  return archive.read(reference.slice(at + 2));
}

/** Closes the archives that `readReference` opened. */
export function closeArchives(): void {
  for (const archive of open.values()) archive.close();
  open.clear();
}
