import { blankImage, type Rgb, type RgbImage } from './image.js';
import { drawText, GLYPH_HEIGHT, GLYPH_WIDTH } from './font.js';
import { resize } from './resize.js';

export interface SheetOptions {
  /** Default: as many as make the sheet about square. */
  columns?: number;
  /** One line below each picture, cut at its width; ASCII. */
  labels?: readonly string[];
  /** Every picture is enlarged by this whole number with sharp pixels. */
  scale?: number;
  gap?: number;
  background?: Rgb;
  ink?: Rgb;
}

/** A grid of pictures, row by row, each in a cell as large as the largest. Encode it with `encodePng`. */
export function contactSheet(images: readonly RgbImage[], options: SheetOptions = {}): RgbImage {
  const { labels, scale = 1, gap = 4, background = [255, 255, 255], ink = [0, 0, 0] } = options;
  if (images.length === 0) throw new Error('contactSheet: expected at least one picture, found none.');
  if (labels && labels.length !== images.length) throw new Error(`contactSheet: expected ${images.length} labels, found ${labels.length}.`);
  const columns = Math.min(images.length, options.columns ?? Math.ceil(Math.sqrt(images.length)));
  const rows = Math.ceil(images.length / columns);
  const cellWidth = Math.max(...images.map(({ width }) => width)) * scale;
  const pictureHeight = Math.max(...images.map(({ height }) => height)) * scale;
  const cellHeight = pictureHeight + (labels ? GLYPH_HEIGHT + 2 : 0);

  const sheet = blankImage(gap + columns * (cellWidth + gap), gap + rows * (cellHeight + gap), background);
  images.forEach((image, i) => {
    const left = gap + (i % columns) * (cellWidth + gap);
    const top = gap + Math.floor(i / columns) * (cellHeight + gap);
    paste(sheet, scale === 1 ? image : resize(image, image.width * scale, image.height * scale, 'nearest'), left, top);
    const label = labels?.[i].slice(0, Math.floor(cellWidth / GLYPH_WIDTH)) ?? '';
    drawText(label, (x, y) => sheet.data.set(ink, ((top + pictureHeight + 2 + y) * sheet.width + left + x) * 3));
  });
  return sheet;
}

/** Copies `image` into `sheet`; it must lie inside. */
export function paste(sheet: RgbImage, image: RgbImage, left: number, top: number): void {
  for (let y = 0; y < image.height; y++) {
    sheet.data.set(image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3), ((top + y) * sheet.width + left) * 3);
  }
}
