import { writeFileSync } from 'node:fs';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { parquetWriteBuffer } from 'hyparquet-writer';
import type { Pair } from '../types.js';
import { Checker, Intake, MalformedRecord } from './intake.js';

const captionColumns = ['caption', 'TEXT', 'text'];

/**
 * Parquet files of pictures and captions: a column `image` with `{ bytes, path }` as Hugging Face writes it, or with the bytes themselves (also
 * `jpg`, `png`); the caption in `caption`, `TEXT` or `text`. `rowsAtOnce` rows are in memory at a time.
 */
export async function* readParquetPairs(file: string, intake = new Intake(), rowsAtOnce = 500): AsyncGenerator<Pair> {
  const buffer = await asyncBufferFromFile(file);
  const metadata = await parquetMetadataAsync(buffer).catch((error: Error) => {
    throw new Error(`${file} is not a parquet file, or it was cut off: ${error.message}`);
  });
  const names = new Set(metadata.schema.map(({ name }) => name));
  const captionColumn = captionColumns.find((name) => names.has(name));
  const imageColumn = ['image', 'jpg', 'png'].find((name) => names.has(name));
  if (!captionColumn || !imageColumn) {
    const found = [...names].join(', ');
    throw new Error(`${file}: expected a caption (${captionColumns.join(', ')}) and an image column (image, jpg, png), found ${found}.`);
  }
  const columns = [captionColumn, imageColumn, ...(names.has('id') ? ['id'] : [])];
  const numRows = Number(metadata.num_rows);
  for (let start = 0; start < numRows; start += rowsAtOnce) {
    // Texts come as bytes too when pictures must.
    const end = Math.min(numRows, start + rowsAtOnce);
    const rows = await parquetReadObjects({ file: buffer, metadata, columns, rowStart: start, rowEnd: end, compressors, utf8: false }).catch((error: Error) => {
      // Rows are packed together, so none of these can be had.
      for (let row = start; row < end; row++) intake.reject(new MalformedRecord({ file, member: `row ${row}` }, `rows ${start} to ${end - 1} cannot be unpacked: ${error.message}`));
      return [];
    });
    for (const [i, row] of rows.entries()) {
      const pair = intake.take((): Pair => {
        const check = new Checker({ file, member: `row ${start + i}` });
        const value = row[imageColumn] as Uint8Array | { bytes?: Uint8Array } | null;
        const bytes = value instanceof Uint8Array ? value : value?.bytes;
        if (!bytes || bytes.length === 0) check.fail('the picture is missing');
        const caption = asText(row[captionColumn]) ?? check.fail('the caption is missing');
        return { id: asText(row.id) ?? String(start + i), image: `data:image/*;base64,${Buffer.from(bytes!).toString('base64')}`, caption };
      });
      if (pair) yield pair;
    }
  }
  intake.finish();
}

const asText = (value: unknown): string | undefined => (value instanceof Uint8Array ? new TextDecoder().decode(value) : typeof value === 'string' ? value : undefined);

/** Writes pairs with the columns `id`, `image` (`{ bytes, path }`, as Hugging Face data sets) and `caption`. */
export function writeParquetPairs(file: string, samples: readonly { pair: Pair; png: Uint8Array }[]): void {
  const buffer = parquetWriteBuffer({
    schema: [
      { name: 'root', num_children: 3 },
      { name: 'id', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
      { name: 'image', num_children: 2, repetition_type: 'REQUIRED' },
      { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'REQUIRED' },
      { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
      { name: 'caption', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
    ],
    columnData: [
      { name: 'id', data: samples.map(({ pair }) => pair.id) },
      { name: 'image', data: samples.map(({ png }, i) => ({ bytes: new Uint8Array(png), path: `${String(i).padStart(8, '0')}.png` })) },
      { name: 'caption', data: samples.map(({ pair }) => pair.caption) },
    ],
  });
  writeFileSync(file, new Uint8Array(buffer));
}
