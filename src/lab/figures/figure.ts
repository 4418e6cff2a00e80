import type { Data, Layout } from 'plotly.js';

/** A plotly figure as data: what is drawn interactively, as PNG and as SVG. */
export interface Figure {
  data: Partial<Data>[];
  layout: Partial<Layout>;
}

/** Okabe and Ito's colours, which colour-blind readers can tell apart. */
export const colours = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000'] as const;

export const colour = (index: number): string => colours[index % colours.length];

/** The same colour with an opacity, for bands. */
export function faint(index: number, opacity = 0.18): string {
  const value = parseInt(colour(index).slice(1), 16);
  return `rgba(${value >> 16}, ${(value >> 8) & 255}, ${value & 255}, ${opacity})`;
}

/** The look that all figures share. `x` and `y` are axis titles with units. */
export function layout(title: string, x: string, y: string, more: Partial<Layout> = {}): Partial<Layout> {
  return {
    title: { text: title, font: { size: 15 } },
    font: { family: 'Helvetica, Arial, sans-serif', size: 12, color: '#222222' },
    paper_bgcolor: '#ffffff',
    plot_bgcolor: '#ffffff',
    margin: { l: 64, r: 24, t: 48, b: 56 },
    colorway: [...colours],
    xaxis: { title: { text: x, standoff: 10 }, gridcolor: '#e5e5e5', zerolinecolor: '#cccccc', automargin: true },
    yaxis: { title: { text: y, standoff: 10 }, gridcolor: '#e5e5e5', zerolinecolor: '#cccccc', automargin: true },
    legend: { orientation: 'h', y: -0.25 },
    ...more,
  };
}
