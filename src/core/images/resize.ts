import type { RgbImage } from './image.js';

export type Filter = 'nearest' | 'box' | 'bilinear' | 'bicubic' | 'lanczos';

interface Kernel {
  /** Half the width on which the weight is not zero, in input pixels when enlarging. */
  support: number;
  weight(x: number): number;
}

const sinc = (x: number) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

const kernels: Record<Exclude<Filter, 'nearest'>, Kernel> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    weight(x) {
      const a = -0.5; // Keys 1981; Pillow's choice, where others take -0.75
      const t = Math.abs(x);
      if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
      return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
    },
  },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/**
 * Resizes as Pillow 9 does, to the byte. Shrinking widens the filter (antialias). Both passes, horizontal first, compute in fixed point
 * with 22 fractional bits and round to whole bytes (Pillow, `src/libImaging/Resample.c`).
 */
export function resize(image: RgbImage, width: number, height: number, filter: Filter): RgbImage {
  if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)) {
    throw new Error(`resize: expected a size of positive whole numbers, found ${width}×${height}.`);
  }
  if (width === image.width && height === image.height) return { ...image, data: image.data.slice() };
  if (filter === 'nearest') return resizeNearest(image, width, height);
  const wide = width === image.width ? image : resampleRows(image, width, kernels[filter]);
  return height === image.height ? wide : resampleColumns(wide, height, kernels[filter]);
}

const FRACTION_BITS = 22;

/** For each output pixel the first input pixel and the fixed-point weights from there on. */
function fixedWeights(input: number, output: number, { support, weight }: Kernel): { start: number; weights: Int32Array }[] {
  const scale = input / output;
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  return Array.from({ length: output }, (_, i) => {
    const center = (i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(input, Math.trunc(center + reach + 0.5));
    const raw: number[] = [];
    let total = 0;
    for (let x = start; x < end; x++) {
      raw.push(weight((x - center + 0.5) * (1 / stretch)));
      total += raw[raw.length - 1];
    }
    const weights = Int32Array.from(raw, (w) => {
      const share = total === 0 ? w : w / total;
      return Math.trunc(share * 2 ** FRACTION_BITS + (share < 0 ? -0.5 : 0.5));
    });
    return { start, weights };
  });
}

const toByte = (fixed: number) => {
  const value = fixed >> FRACTION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
};

const HALF = 1 << (FRACTION_BITS - 1);

function resampleRows({ width, height, data }: RgbImage, newWidth: number, kernel: Kernel): RgbImage {
  const taps = fixedWeights(width, newWidth, kernel);
  const out = new Uint8Array(newWidth * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    for (const { start, weights } of taps) {
      let r = HALF, g = HALF, b = HALF;
      for (let k = 0, from = (y * width + start) * 3; k < weights.length; k++, from += 3) {
        const w = weights[k];
        r += data[from] * w;
        g += data[from + 1] * w;
        b += data[from + 2] * w;
      }
      out[to++] = toByte(r);
      out[to++] = toByte(g);
      out[to++] = toByte(b);
    }
  }
  return { width: newWidth, height, data: out };
}

function resampleColumns({ width, height, data }: RgbImage, newHeight: number, kernel: Kernel): RgbImage {
  const stride = width * 3;
  const out = new Uint8Array(stride * newHeight);
  const sums = new Float64Array(stride);
  fixedWeights(height, newHeight, kernel).forEach(({ start, weights }, y) => {
    sums.fill(HALF);
    weights.forEach((w, k) => {
      const from = (start + k) * stride;
      for (let i = 0; i < stride; i++) sums[i] += data[from + i] * w;
    });
    for (let i = 0; i < stride; i++) out[y * stride + i] = toByte(sums[i]);
  });
  return { width, height: newHeight, data: out };
}

function resizeNearest({ width, height, data }: RgbImage, newWidth: number, newHeight: number): RgbImage {
  const columns = nearestSources(width, newWidth);
  const rows = nearestSources(height, newHeight);
  const out = new Uint8Array(newWidth * newHeight * 3);
  let to = 0;
  for (const y of rows) {
    for (const x of columns) {
      const from = (y * width + x) * 3;
      out[to++] = data[from];
      out[to++] = data[from + 1];
      out[to++] = data[from + 2];
    }
  }
  return { width: newWidth, height: newHeight, data: out };
}

/** Pillow adds the scale up step by step; doing the same keeps its rounding. */
function nearestSources(input: number, output: number): number[] {
  const scale = input / output;
  const sources: number[] = [];
  for (let i = 0, x = scale * 0.5; i < output; i++, x += scale) sources.push(Math.min(input - 1, Math.trunc(x)));
  return sources;
}
