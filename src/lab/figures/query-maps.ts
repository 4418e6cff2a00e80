import { type Figure, layout } from './figure.js';

/**
 * Maps of attention side by side as in Figure 6 of the paper, one a query, numbered from the top left. Each is scaled to its own largest value: where
 * a query is looked at, not how much. maps [queries][side][side]
 */
export function queryMaps(title: string, maps: readonly (readonly (readonly number[])[])[]): Figure {
  const side = maps[0]?.length ?? 0;
  if (side === 0) throw new Error('Maps of attention need at least one query and one place.');
  const columns = Math.ceil(Math.sqrt(maps.length));
  const rows = Math.ceil(maps.length / columns);
  const step = side + 1; // a free line between maps
  const z: (number | null)[][] = Array.from({ length: rows * step - 1 }, () => Array<number | null>(columns * step - 1).fill(null));
  maps.forEach((map, query) => {
    const [top, left] = [Math.floor(query / columns) * step, (query % columns) * step];
    const largest = Math.max(...map.flat()) || 1;
    map.forEach((row, y) => row.forEach((value, x) => (z[top + y][left + x] = value / largest)));
  });
  const hidden = { visible: false, fixedrange: true } as const;
  return {
    data: [{ type: 'heatmap', z, colorscale: 'Viridis', zmin: 0, zmax: 1, hoverongaps: false, colorbar: { title: { text: 'of its largest' } } }],
    layout: layout(title, '', '', {
      xaxis: hidden, yaxis: { ...hidden, autorange: 'reversed', scaleanchor: 'x' }, width: 140 + 90 * columns, height: 90 + 90 * rows, margin: { l: 16, r: 24, t: 64, b: 16 },
    }),
  };
}
