import { type Figure, colour, faint, layout } from './figure.js';

export interface PairedDifference {
  label: string;
  /** b - a of each seed. */
  differences: readonly number[];
  mean: number;
  ci: readonly [number, number];
}

/** Differences paired by seed: a faint dot a seed, the mean with its 95 % interval beside it, and a line at no difference. */
export function pairedDifferences(title: string, y: string, rows: readonly PairedDifference[]): Figure {
  const data: Figure['data'] = rows.flatMap(({ label, differences, mean, ci }, i) => [
    { type: 'scatter' as const, mode: 'markers' as const, name: `${label}, seeds`, x: differences.map(() => i - 0.12), y: [...differences], marker: { color: faint(i, 0.45), size: 7 }, showlegend: false },
    {
      type: 'scatter' as const, mode: 'markers' as const, name: label, x: [i + 0.06], y: [mean], marker: { color: colour(i), size: 10, symbol: 'diamond' as const },
      error_y: { type: 'data' as const, symmetric: false, array: [ci[1] - mean], arrayminus: [mean - ci[0]], color: colour(i), thickness: 1.6, visible: true },
    },
  ]);
  const base = layout(title, '', y, { showlegend: false, shapes: [{ type: 'line', xref: 'paper', x0: 0, x1: 1, y0: 0, y1: 0, line: { color: '#444444', width: 1, dash: 'dash' } }] });
  return { data, layout: { ...base, xaxis: { ...base.xaxis, tickmode: 'array', tickvals: rows.map((_, i) => i), ticktext: rows.map(({ label }) => label), range: [-0.6, rows.length - 0.4], zeroline: false } } };
}
