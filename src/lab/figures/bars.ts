import { type Figure, colour, layout } from './figure.js';

export interface Bar {
  label: string;
  value: number;
  ci?: readonly [number, number];
}

/** Groups of bars with their 95 % intervals; `chance` draws the level of guessing. */
export function bars(title: string, y: string, groups: readonly { name: string; bars: readonly Bar[] }[], { chance }: { chance?: number } = {}): Figure {
  const data: Figure['data'] = groups.map(({ name, bars: row }, i) => ({
    type: 'bar' as const,
    name,
    x: row.map(({ label }) => label),
    y: row.map(({ value }) => value),
    marker: { color: colour(i) },
    ...(row.some(({ ci }) => ci)
      ? {
          error_y: {
            type: 'data' as const,
            symmetric: false,
            array: row.map(({ value, ci }) => (ci ? ci[1] - value : 0)),
            arrayminus: row.map(({ value, ci }) => (ci ? value - ci[0] : 0)),
            color: '#444444',
            thickness: 1.2,
            visible: true,
          },
        }
      : {}),
  }));
  const shapes: Figure['layout']['shapes'] =
    chance === undefined ? [] : [{ type: 'line', xref: 'paper', x0: 0, x1: 1, y0: chance, y1: chance, line: { color: '#444444', width: 1, dash: 'dash' } }];
  return { data, layout: layout(title, '', y, { barmode: 'group', shapes, showlegend: groups.length > 1 }) };
}

/** Abilities around a circle, one polygon a model. Values are in [0, 1]. */
export function radar(title: string, abilities: readonly string[], models: readonly { name: string; values: readonly number[] }[]): Figure {
  const data: Figure['data'] = models.map(({ name, values }, i) => ({
    type: 'scatterpolar' as const,
    mode: 'lines+markers' as const,
    name,
    theta: [...abilities, abilities[0]],
    r: [...values, values[0]],
    line: { color: colour(i), width: 2 },
    marker: { color: colour(i), size: 5 },
  }));
  return { data, layout: layout(title, '', '', { polar: { radialaxis: { range: [0, 1], gridcolor: '#dddddd' }, angularaxis: { gridcolor: '#dddddd' } } }) };
}
