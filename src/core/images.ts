/** Pictures: decode, resize as Pillow does, turn into network inputs and back, lay out in sheets. */
export * from './images/image.js';
export * from './images/codec.js';
export { resize, type Filter } from './images/resize.js';
export * from './images/preprocess.js';
export * from './images/sheet.js';
