import { blankImage, paste, resize, type Rgb, type RgbImage } from '../core/images.js';
import { ignored, type LayoutConfig, type Sequence } from '../dreamllm/layout.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { readImage } from './images.js';
import type { ImageRef } from './types.js';

/** What a position is, as the picture of the mask colours it. */
export type Role = 'text' | 'special' | 'query' | 'patch' | 'padding';

export interface Position {
  index: number;
  token: string;
  role: Role;
  /** Whether the next-token loss asks for this token. */
  isTarget: boolean;
  /** Which picture fills this position: `drawn 0` for queries, `read 0` for patches. */
  slot?: string;
}

/** Every position of a sequence. Throws where a block is not as long as the layout says. */
export function positions({ tokenIds, labels }: Sequence<unknown>, { tokens, numDreamQueries, numImagePatches }: LayoutConfig, tokenizer: Tokenizer): Position[] {
  const special = new Set(Object.values(tokens));
  let [read, drawn] = [-1, -1];
  let block: { role: 'query' | 'patch'; left: number } | undefined;
  return tokenIds.map((id, index) => {
    const common = { index, token: tokenizer.decode([id], { keepSpecial: true }), isTarget: labels[index] !== ignored };
    if (block && block.left > 0) {
      if (id !== tokens.imPatch) throw new Error(`Position ${index}: expected ${block.left} more place-holders of a ${block.role} block, found ${common.token}.`);
      block.left--;
      return { ...common, role: block.role, slot: block.role === 'query' ? `drawn ${drawn}` : `read ${read}` };
    }
    if (id === tokens.dreamStart) {
      drawn++;
      block = { role: 'query', left: numDreamQueries };
    } else if (id === tokens.imStart) {
      read++;
      block = { role: 'patch', left: numImagePatches };
    }
    return { ...common, role: id === tokens.pad ? ('padding' as const) : special.has(id) ? ('special' as const) : ('text' as const) };
  });
}

/** A table of a sequence, one position a line; runs of equal slots are one line. */
export function describe(rows: readonly Position[]): string {
  const lines: string[] = [];
  for (let i = 0; i < rows.length; i++) {
    const { index, token, role, isTarget, slot } = rows[i];
    let last = i;
    while (slot !== undefined && last + 1 < rows.length && rows[last + 1].slot === slot && rows[last + 1].role === role) last++;
    const where = last > i ? `${index}-${rows[last].index}` : String(index);
    lines.push(`${where.padStart(9)}  ${isTarget ? 'target' : '      '}  ${role.padEnd(7)}  ${slot ? `${slot} (${last - i + 1} positions)` : JSON.stringify(token)}`);
    i = last;
  }
  return lines.join('\n');
}

const roleColors: Record<Role, Rgb> = { text: [70, 110, 200], special: [40, 40, 40], query: [225, 120, 30], patch: [50, 150, 80], padding: [200, 200, 200] };
const unseen: Rgb = [250, 250, 250];

/**
 * The attention mask as a picture, `cell` pixels a position: row i shows what position i sees, in the colour of what is seen (blue text, black
 * special tokens, orange queries, green patches), white where it sees nothing. The strip on the left has the row's own colour, and a second strip is
 * red where the position is a target. The pictures of the sequence stand on the right, drawn ones first.
 */
export async function maskPicture(rows: readonly Position[], { images, dreamImages }: Pick<Sequence<ImageRef>, 'images' | 'dreamImages'>, cell = 4): Promise<RgbImage> {
  const strip = 3 * cell;
  const margin = 2 * strip + cell;
  const thumbnail = 64;
  const pictures = [...dreamImages, ...images];
  const side = rows.length * cell;
  const height = Math.max(side, pictures.length * (thumbnail + 4));
  const sheet = blankImage(margin + side + (pictures.length > 0 ? thumbnail + 8 : 0), height, [255, 255, 255]);
  const fill = (left: number, top: number, width: number, tall: number, color: Rgb) => paste(sheet, blankImage(width, tall, color), left, top);
  rows.forEach((row, i) => {
    fill(0, i * cell, strip, cell, roleColors[row.role]);
    fill(strip, i * cell, strip, cell, row.isTarget ? [220, 30, 50] : [255, 255, 255]);
    rows.forEach((seen, j) => fill(margin + j * cell, i * cell, cell, cell, sees(row, seen) ? roleColors[seen.role] : unseen));
  });
  for (const [i, ref] of pictures.entries()) {
    const data = await readImage(ref);
    const size = Math.sqrt(data.length / 3);
    paste(sheet, resize({ width: size, height: size, data }, thumbnail, thumbnail, 'nearest'), margin + side + 8, i * (thumbnail + 4));
  }
  return sheet;
}

/** Causal attention without padding: queries have no mask of their own (MD:960-967 of the reference). */
export const sees = (from: Position, to: Position): boolean => to.index <= from.index && to.role !== 'padding';
