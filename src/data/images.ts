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

/** Pixels of a generated picture: RGB, side · side · 3. Files are read by `readImage`, which is asynchronous. */
export function loadImage(ref: ImageRef, side = board): Uint8Array {
  return renderScene(sceneOf(ref), side);
}
