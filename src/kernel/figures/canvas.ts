import { encodePng } from './png.js';

/** The part of an `HTMLCanvasElement` this stands in for. */
interface Canvas {
  width: number;
  height: number;
}

/**
 * The few calls of a 2D canvas that Plotly makes when it draws heat maps and images: filled rectangles in opaque or
 * transparent colours, and blocks of pixels. Anything else Plotly only probes for, so it is absent.
 */
export class PixelCanvas {
  fillStyle = 'rgba(0,0,0,1)';
  private pixels: Uint8ClampedArray;
  private readonly width: number;
  private readonly height: number;

  constructor(canvas: Canvas) {
    this.width = canvas.width;
    this.height = canvas.height;
    this.pixels = new Uint8ClampedArray(4 * this.width * this.height);
  }

  /** True when the element was resized since, which empties a canvas. */
  isStale(canvas: Canvas): boolean {
    return canvas.width !== this.width || canvas.height !== this.height;
  }

  fillRect(x: number, y: number, width: number, height: number): void {
    const [red = 0, green = 0, blue = 0, alpha = 1] = (this.fillStyle.match(/[\d.]+/g) ?? []).map(Number);
    const clamp = (value: number, limit: number) => Math.max(0, Math.min(limit, Math.round(value)));
    const [left, right] = [clamp(Math.min(x, x + width), this.width), clamp(Math.max(x, x + width), this.width)];
    const [top, bottom] = [clamp(Math.min(y, y + height), this.height), clamp(Math.max(y, y + height), this.height)];
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        this.pixels.set([red, green, blue, alpha * 255], 4 * (row * this.width + column));
      }
    }
  }

  createImageData(width: number, height: number): { width: number; height: number; data: Uint8ClampedArray } {
    return { width, height, data: new Uint8ClampedArray(4 * width * height) };
  }

  getImageData(left: number, top: number, width: number, height: number): { data: Uint8ClampedArray } {
    const { data } = this.createImageData(width, height);
    for (let row = 0; row < height; row++) {
      const start = 4 * ((top + row) * this.width + left);
      data.set(this.pixels.subarray(start, start + 4 * width), 4 * row * width);
    }
    return { data };
  }

  putImageData(image: { width: number; height: number; data: Uint8ClampedArray }, left: number, top: number): void {
    for (let row = 0; row < Math.min(image.height, this.height - top); row++) {
      const pixels = image.data.subarray(4 * row * image.width, 4 * (row * image.width + Math.min(image.width, this.width - left)));
      this.pixels.set(pixels, 4 * ((top + row) * this.width + left));
    }
  }

  toDataUrl(): string {
    return `data:image/png;base64,${encodePng(this.pixels, this.width, this.height).toString('base64')}`;
  }
}
