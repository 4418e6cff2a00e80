import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import type { RgbImage } from './image.js';

/**
 * Reads a picture of any format that libvips knows as 8-bit RGB, as Pillow's `convert('RGB')` does: grey is copied to three channels, an
 * alpha channel is dropped without blending, colour profiles and the orientation tag are not applied.
 * Throws an error that names the file when it does not decode.
 */
export async function decodeImage(source: string | Uint8Array, name = typeof source === 'string' ? source : 'image'): Promise<RgbImage> {
  const bytes = typeof source === 'string' ? await readFile(source) : source;
  try {
    const { data, info } = await sharp(bytes, { ignoreIcc: true, failOn: 'error' })
      .toColourspace('srgb')
      .removeAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`found ${info.channels} channels after conversion, expected 3`);
    return { width: info.width, height: info.height, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  } catch (cause) {
    throw new Error(
      `${name} is not a picture that can be decoded (${bytes.length} bytes): ${(cause as Error).message}. Expected a whole PNG, JPEG, WebP or GIF file.`,
      { cause },
    );
  }
}

const asSharp = ({ data, width, height }: RgbImage) => {
  if (data.length !== width * height * 3) {
    throw new Error(`Expected ${width * height * 3} bytes for ${width}×${height} RGB, found ${data.length}.`);
  }
  return sharp(data, { raw: { width, height, channels: 3 } });
};

export const encodePng = async (image: RgbImage): Promise<Uint8Array> => asSharp(image).png().toBuffer();

/** `quality` 1 to 100; 4:2:0 chroma as Pillow's default. */
export const encodeJpeg = async (image: RgbImage, quality = 95): Promise<Uint8Array> => asSharp(image).jpeg({ quality }).toBuffer();
