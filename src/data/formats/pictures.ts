import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packTar } from 'modern-tar';
import { encodePng } from '../../core/images.js';
import { loadImage } from '../images.js';
import type { ImageRef } from '../types.js';
import { makeZip } from './zip.js';

/** Where the pictures of a data set are written. */
export type PictureStore = 'folder' | 'tar' | 'zip';

/** The PNG of a generated picture. */
export const pngOf = (ref: ImageRef, side: number): Promise<Uint8Array> => encodePng({ width: side, height: side, data: loadImage(ref, side) });

export interface NamedBytes {
  name: string;
  bytes: Uint8Array;
}

/** Writes pictures to `path` as a folder, or to `path.tar` or `path.zip`. Returns what was written. */
export async function writePictures(path: string, store: PictureStore, files: readonly NamedBytes[]): Promise<string> {
  if (store === 'folder') {
    for (const { name, bytes } of files) {
      mkdirSync(dirname(join(path, name)), { recursive: true });
      writeFileSync(join(path, name), bytes);
    }
    return path;
  }
  const target = `${path}.${store}`;
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, store === 'zip' ? makeZip(files) : await makeTar(files));
  return target;
}

/** A tar with fixed times and owners, so that the same files give the same bytes. */
export const makeTar = (files: readonly NamedBytes[]): Promise<Uint8Array> =>
  packTar(files.map(({ name, bytes }) => ({ header: { name, size: bytes.length, mtime: new Date(0), mode: 0o644, type: 'file' as const }, body: bytes })));
