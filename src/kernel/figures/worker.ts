import { parentPort } from 'node:worker_threads';
import { Resvg } from '@resvg/resvg-js';
import { fontFamily, fontFiles } from './font-metrics.js';
import { loadPlotly, type Figure } from './plotly.js';

export interface FigureRequest {
  id: number;
  figure: Figure;
  format: 'svg' | 'png';
  width: number;
  height: number;
  scale: number;
}

export type FigureReply = { id: number; image: string | Uint8Array } | { id: number; error: string };

const draw = loadPlotly();

parentPort!.on('message', async ({ id, figure, format, width, height, scale }: FigureRequest) => {
  const reply = (message: FigureReply) => parentPort!.postMessage(message);
  try {
    const svg = await draw(figure, { width, height });
    reply({ id, image: format === 'svg' ? svg : toPng(svg, scale) });
  } catch (error) {
    reply({ id, error: (error as Error)?.message ?? String(error) });
  }
});

function toPng(svg: string, scale: number): Uint8Array {
  const font = { loadSystemFonts: false, fontFiles: Object.values(fontFiles), defaultFontFamily: fontFamily, sansSerifFamily: fontFamily };
  return new Resvg(svg, { font, background: 'white', fitTo: { mode: 'zoom', value: scale } }).render().asPng();
}
