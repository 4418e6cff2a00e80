import { type Figure } from '../figures/plotly.js';
import { plain, renderFigure } from '../static-figure.js';
import { type Bundle } from './bundle.js';

export const plotlyType = 'application/vnd.plotly.v1+json';

/** `{ data: [trace, …], layout }`: layout tells it from other objects with data; without one, a trace must look like one. */
export function isFigure(value: object): value is Figure {
  const { data, layout } = value as { data?: unknown; layout?: unknown };
  if (!Array.isArray(data) || !data.every((trace) => typeof trace === 'object' && trace !== null && !Array.isArray(trace))) return false;
  if (typeof layout === 'object' && layout !== null) return true;
  const isTrace = (trace: object) => ['x', 'y', 'z', 'r', 'values', 'cells'].some((axis) => axis in trace);
  return layout === undefined && data.length > 0 && data.every(isTrace) && Object.keys(value).every((key) => ['data', 'config', 'frames'].includes(key));
}

/** Interactive where Plotly's type is known, a picture elsewhere, such as on a hosting service's page, and words at last. */
export async function figureBundle(figure: Figure): Promise<Bundle> {
  const json = plain(figure);
  const { data, layout = {}, frames } = json;
  const bundle: Bundle = { [plotlyType]: { data, layout, ...(frames ? { frames } : {}) }, 'text/plain': describeFigure(json) };
  try {
    bundle['image/png'] = (await renderFigure(figure, { format: 'png', scale: 1.5 })).toString('base64');
  } catch (error) {
    bundle['text/plain'] += ` (no picture: ${(error as Error).message})`;
  }
  return bundle;
}

function describeFigure({ data, layout }: Figure): string {
  const title = (layout as { title?: string | { text?: string } } | undefined)?.title;
  const text = typeof title === 'string' ? title : title?.text;
  const types = data.map((trace) => (trace as { type?: string }).type ?? 'scatter');
  return `Figure${text ? ` "${text}"` : ''}: ${types.join(', ') || 'empty'}`;
}
