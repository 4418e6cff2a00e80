import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { svgPathProperties } from 'svg-path-properties';
import { boundingBox, textWidth, type Box, type SvgElement } from './boxes.js';
import { PixelCanvas } from './canvas.js';
import { fontFiles, readFontMetrics } from './font-metrics.js';

const require = createRequire(import.meta.url);

/** A Plotly figure as plain JSON: what `Plotly.newPlot` takes. */
export interface Figure {
  data: unknown[];
  layout?: object;
  frames?: unknown[];
}

/** The globals of a jsdom window that are set here. jsdom publishes no types of its own. */
interface Window {
  eval(source: string): unknown;
  TextDecoder: unknown;
  TextEncoder: unknown;
  URL: { createObjectURL?: unknown };
  SVGElement: { prototype: object };
  HTMLElement: { prototype: object };
  HTMLCanvasElement: { prototype: object };
}

/**
 * Loads plotly.js into a window without a browser and returns a function that draws a figure as SVG text. A browser
 * measures text and paths with its layout engine; here both are computed from the same font files the SVG is later
 * rendered with. Takes one to two seconds and about 250 MB, so it belongs into a worker thread.
 */
export function loadPlotly(): (figure: Figure, size: { width: number; height: number }) => Promise<string> {
  const { JSDOM, VirtualConsole } = require('jsdom');
  // Without an attached console, jsdom's notes about unimplemented features go nowhere; errors still throw.
  const dom = new JSDOM('<!doctype html><body></body>', { runScripts: 'outside-only', pretendToBeVisual: true, virtualConsole: new VirtualConsole() });
  const window: Window = dom.window;
  completeWindow(window);
  window.eval(readFileSync(require.resolve('plotly.js/dist/plotly.min.js'), 'utf8'));
  const toImage = window.eval('(figure, options) => Plotly.toImage(JSON.parse(figure), options)') as (figure: string, options: object) => Promise<string>;

  const restart = window.eval(repeatableNames) as () => void;

  return async (figure, { width, height }) => {
    restart();
    const url = await toImage(JSON.stringify(figure), { format: 'svg', width, height });
    return withCrispCells(decodeURIComponent(url.slice(url.indexOf(',') + 1)));
  };
}

/** Plotly names clip paths and traces at random. The same numbers for each figure make equal figures equal files. */
const repeatableNames = `(() => {
  let state = 1;
  Math.random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  return () => { state = 1; };
})()`;

function completeWindow(window: Window): void {
  const fonts = { regular: readFontMetrics(fontFiles.regular), bold: readFontMetrics(fontFiles.bold) };
  const rect = ({ x, y, width, height }: Box) => ({ x, y, width, height, left: x, top: y, right: x + width, bottom: y + height });
  const path = (element: SvgElement) => new svgPathProperties(element.getAttribute('d') || 'M0,0');

  Object.assign(window, { TextDecoder, TextEncoder });
  window.URL.createObjectURL = () => 'blob:none'; // Plotly makes one for a map worker that a static picture never starts
  Object.assign(window.SVGElement.prototype, {
    getBBox(this: SvgElement) {
      return rect(boundingBox(this, fonts));
    },
    getBoundingClientRect(this: SvgElement) {
      return rect(boundingBox(this, fonts));
    },
    getComputedTextLength(this: SvgElement) {
      return textWidth(this, fonts);
    },
    getTotalLength(this: SvgElement) {
      return path(this).getTotalLength();
    },
    getPointAtLength(this: SvgElement, length: number) {
      return path(this).getPointAtLength(length);
    },
  });
  const canvases = new WeakMap<object, PixelCanvas>();
  const canvasOf = (element: { width: number; height: number }): PixelCanvas => {
    let canvas = canvases.get(element);
    if (!canvas || canvas.isStale(element)) canvases.set(element, (canvas = new PixelCanvas(element)));
    return canvas;
  };
  Object.assign(window.HTMLCanvasElement.prototype, {
    getContext(this: { width: number; height: number }, kind: string) {
      return kind === '2d' ? canvasOf(this) : null;
    },
    toDataURL(this: { width: number; height: number }) {
      return canvasOf(this).toDataUrl();
    },
  });
}

/** Heat maps are pictures of one pixel a cell, to be enlarged without smoothing; resvg knows that by the SVG 1.1 name only. */
function withCrispCells(svg: string): string {
  return svg.replaceAll('image-rendering: pixelated', 'image-rendering: optimizeSpeed');
}
