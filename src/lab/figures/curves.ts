import { type Figure, colour, faint, layout } from './figure.js';

export interface Curve {
  name: string;
  /** Step or setting of each point. */
  x: readonly number[];
  y: readonly number[];
  /** 95 % interval of each point. */
  low?: readonly number[];
  high?: readonly number[];
}

/** Curves with their intervals as bands, such as accuracy or FID against a setting. Points are marked: nothing is measured between them. */
export function curves(title: string, x: string, y: string, series: readonly Curve[], { logX = false, logY = false } = {}): Figure {
  const data: Figure['data'] = series.flatMap(({ name, x: xs, y: ys, low, high }, i) => [
    ...(low && high
      ? [{ type: 'scatter' as const, x: [...xs, ...[...xs].reverse()], y: [...high, ...[...low].reverse()], fill: 'toself' as const, fillcolor: faint(i), line: { width: 0 }, hoverinfo: 'skip' as const, showlegend: false, mode: 'lines' as const }]
      : []),
    { type: 'scatter' as const, mode: 'lines+markers' as const, name, x: [...xs], y: [...ys], line: { color: colour(i), width: 2 }, marker: { color: colour(i), size: 6 } },
  ]);
  const base = layout(title, x, y);
  return {
    data,
    layout: { ...base, xaxis: { ...base.xaxis, ...(logX ? { type: 'log' as const } : {}) }, yaxis: { ...base.yaxis, ...(logY ? { type: 'log' as const } : {}) } },
  };
}

/** A noisy loss: the raw values faint, an exponential mean over about `window` steps on top; `band` is what it is expected to be, drawn in grey below. */
export function lossCurve(
  title: string, series: readonly { name: string; steps: readonly number[]; values: readonly number[] }[], { window = 20, band }: { window?: number; band?: Curve } = {},
): Figure {
  const data: Figure['data'] = series.flatMap(({ name, steps, values }, i) => [
    { type: 'scatter' as const, mode: 'lines' as const, x: [...steps], y: [...values], line: { color: faint(i, 0.35), width: 1 }, hoverinfo: 'skip' as const, showlegend: false },
    { type: 'scatter' as const, mode: 'lines' as const, name, x: [...steps], y: smooth(values, window), line: { color: colour(i), width: 2 } },
  ]);
  if (!band) return { data, layout: layout(title, 'step', 'loss') };
  const { name, x, y, low = y, high = y } = band;
  const expected: Figure['data'] = [
    { type: 'scatter', mode: 'lines', x: [...x, ...[...x].reverse()], y: [...high, ...[...low].reverse()], fill: 'toself', fillcolor: 'rgba(120, 120, 120, 0.2)', line: { width: 0 }, hoverinfo: 'skip', showlegend: false },
    { type: 'scatter', mode: 'lines', name, x: [...x], y: [...y], line: { color: '#777777', width: 1, dash: 'dot' } },
  ];
  return { data: [...expected, ...data], layout: layout(title, 'step', 'loss') };
}

/** Exponential moving mean, unbiased at the start (the correction of Adam, Kingma and Ba 2015, section 3). */
export function smooth(values: readonly number[], window: number): number[] {
  const keep = 1 - 1 / Math.max(1, window);
  let mean = 0;
  return values.map((value, i) => {
    mean = keep * mean + (1 - keep) * value;
    return mean / (1 - keep ** (i + 1));
  });
}
