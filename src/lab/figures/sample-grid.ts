import type { Figure } from './figure.js';
import { layout } from './figure.js';

/** Pictures as PNG in rows and columns with their names: prompts by guidance scales, stages or arms. An empty cell is left white. */
export function sampleGrid(title: string, rows: readonly string[], columns: readonly string[], picture: (row: number, column: number) => Uint8Array | undefined): Figure {
  const images: NonNullable<Figure['layout']['images']> = rows.flatMap((_, row) =>
    columns.flatMap((_, column) => {
      const png = picture(row, column);
      if (!png) return [];
      const source = `data:image/png;base64,${Buffer.from(png).toString('base64')}`;
      return [{ source, xref: 'x' as const, yref: 'y' as const, x: column - 0.46, y: row - 0.46, sizex: 0.92, sizey: 0.92, sizing: 'contain' as const, layer: 'above' as const }];
    }),
  );
  const longest = Math.max(0, ...rows.flatMap((row) => row.split('<br>').map((line) => line.length)));
  const left = Math.max(64, 24 + 7 * longest); // as much room as the names take: automargin falls short of it
  const axis = { showgrid: false, zeroline: false, tickmode: 'array' as const };
  return {
    // A figure without a trace has no axes, so one lies under the pictures and shows nothing.
    data: [{ type: 'scatter', mode: 'markers', x: [0], y: [0], marker: { opacity: 0 }, hoverinfo: 'skip', showlegend: false }],
    layout: layout(title, '', '', {
      images,
      width: left + 80 + 110 * columns.length,
      height: 100 + 110 * rows.length,
      xaxis: { ...axis, side: 'top', automargin: true, range: [-0.5, columns.length - 0.5], tickvals: columns.map((_, i) => i), ticktext: [...columns] },
      yaxis: { ...axis, range: [rows.length - 0.5, -0.5], tickvals: rows.map((_, i) => i), ticktext: [...rows] },
      margin: { l: left, r: 24, t: 72, b: 16 },
    }),
  };
}
