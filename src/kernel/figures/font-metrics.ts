import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Widths and heights of text, in pixels, as the SVG renderer will draw it. */
export interface FontMetrics {
  /** Advance width of `text` on one line at `size` pixels. */
  width(text: string, size: number): number;
  /** Heights above and below the baseline at `size` pixels. */
  ascent(size: number): number;
  descent(size: number): number;
}

const fontFolder = join(dirname(createRequire(import.meta.url).resolve('dejavu-fonts-ttf/package.json')), 'ttf');

/**
 * The fonts figures are drawn with. They come from a package, not from the system, so a figure looks the same on every
 * machine. The condensed face is close to the width of Plotly's own default, Open Sans.
 */
export const fontFamily = 'DejaVu Sans Condensed';
export const fontFiles = {
  regular: join(fontFolder, 'DejaVuSansCondensed.ttf'),
  bold: join(fontFolder, 'DejaVuSansCondensed-Bold.ttf'),
  italic: join(fontFolder, 'DejaVuSansCondensed-Oblique.ttf'),
};

/** Reads advance widths from a TrueType file: tables `head`, `hhea`, `hmtx` and a format 4 or 12 `cmap` (OpenType 1.9). */
export function readFontMetrics(file: string): FontMetrics {
  const bytes = readFileSync(file);
  const tables = new Map<string, number>();
  for (let i = 0, count = bytes.readUInt16BE(4); i < count; i++) {
    const record = 12 + 16 * i;
    tables.set(bytes.toString('latin1', record, record + 4), bytes.readUInt32BE(record + 8));
  }
  const table = (tag: string): number => {
    const offset = tables.get(tag);
    if (offset === undefined) throw new Error(`${file} has no "${tag}" table; expected a TrueType font.`);
    return offset;
  };

  const unitsPerEm = bytes.readUInt16BE(table('head') + 18);
  const ascender = bytes.readInt16BE(table('hhea') + 4);
  const descender = -bytes.readInt16BE(table('hhea') + 6);
  const longMetrics = bytes.readUInt16BE(table('hhea') + 34);
  const advance = (glyph: number) => bytes.readUInt16BE(table('hmtx') + 4 * Math.min(glyph, longMetrics - 1));

  const glyphOf = readCharacterMap(bytes, table('cmap'), file);
  const widths = new Map<number, number>();
  const widthOf = (codePoint: number): number => {
    let width = widths.get(codePoint);
    if (width === undefined) widths.set(codePoint, (width = advance(glyphOf(codePoint)) / unitsPerEm));
    return width;
  };
  return {
    width: (text, size) => [...text].reduce((sum, character) => sum + widthOf(character.codePointAt(0)!), 0) * size,
    ascent: (size) => (ascender / unitsPerEm) * size,
    descent: (size) => (descender / unitsPerEm) * size,
  };
}

/** Returns a function from code point to glyph number; 0 is the glyph of missing characters. */
function readCharacterMap(bytes: Buffer, cmap: number, file: string): (codePoint: number) => number {
  const subtables = new Map<number, number>();
  for (let i = 0, count = bytes.readUInt16BE(cmap + 2); i < count; i++) {
    const offset = cmap + bytes.readUInt32BE(cmap + 4 + 8 * i + 4);
    subtables.set(bytes.readUInt16BE(offset), offset);
  }
  const groups = subtables.get(12);
  if (groups !== undefined) {
    const count = bytes.readUInt32BE(groups + 12);
    return (codePoint) => {
      for (let low = 0, high = count - 1; low <= high; ) {
        const middle = (low + high) >> 1;
        const group = groups + 16 + 12 * middle;
        if (codePoint < bytes.readUInt32BE(group)) high = middle - 1;
        else if (codePoint > bytes.readUInt32BE(group + 4)) low = middle + 1;
        else return bytes.readUInt32BE(group + 8) + codePoint - bytes.readUInt32BE(group);
      }
      return 0;
    };
  }
  const segments = subtables.get(4);
  if (segments === undefined) throw new Error(`${file} has no Unicode character map of format 4 or 12.`);
  const doubleCount = bytes.readUInt16BE(segments + 6);
  return (codePoint) => {
    for (let i = 0; i < doubleCount; i += 2) {
      if (codePoint > bytes.readUInt16BE(segments + 14 + i)) continue;
      const start = segments + 16 + doubleCount + i;
      if (codePoint < bytes.readUInt16BE(start)) return 0;
      const delta = bytes.readUInt16BE(start + doubleCount);
      const rangeOffset = bytes.readUInt16BE(start + 2 * doubleCount);
      if (rangeOffset === 0) return (codePoint + delta) & 0xffff;
      const glyph = bytes.readUInt16BE(start + 2 * doubleCount + rangeOffset + 2 * (codePoint - bytes.readUInt16BE(start)));
      return glyph === 0 ? 0 : (glyph + delta) & 0xffff;
    }
    return 0;
  };
}
