import { centerCrop, decodeImage, resizeShortSide } from '../core/images.js';
import { readReference } from './formats/archive.js';
import { cellOfIcon, parseSceneRef, renderScene, board, type Scene } from './scenes.js';
import type { ImageRef } from './types.js';

/** The scene of a generated picture's name. `emoji:SET/ICON` is that icon, full size, on white. */
export function sceneOf(ref: ImageRef): Scene {
  if (ref.startsWith('scene:')) return parseSceneRef(ref);
  const [set, icon] = ref.slice('emoji:'.length).split('/');
  const cell = ref.startsWith('emoji:') ? cellOfIcon(set, icon) : undefined;
  if (!cell) throw new Error(`Picture "${ref}": expected emoji:SET/ICON of the emoji world or scene:….`);
  return { kind: 'single', ground: 'white', objects: [{ concept: cell.concept.name, style: cell.style, x: 1, y: 1, size: 30 }] };
}

export const isGenerated = (ref: ImageRef): boolean => ref.startsWith('scene:') || ref.startsWith('emoji:');

/** Pixels of a generated picture: RGB, side · side · 3. Pictures of files need `readImage`. */
export function loadImage(ref: ImageRef, side = board): Uint8Array {
  return renderScene(sceneOf(ref), side);
}

/**
 * Pixels of any picture: RGB, side · side · 3. A file (`photo.jpg`, `images.tar!/0001.png`, a `data:` URL) of another size is resized by its short
 * side and cut to its middle, as CLIP's preprocessing does.
 */
export async function readImage(ref: ImageRef, side = board): Promise<Uint8Array> {
  if (isGenerated(ref)) return loadImage(ref, side);
  const picture = await decodeImage(readReference(ref), ref.length > 80 ? `${ref.slice(0, 77)}…` : ref);
  if (picture.width === side && picture.height === side) return picture.data;
  return centerCrop(resizeShortSide(picture, side, 'bicubic'), side, side, 'floor').data;
}
