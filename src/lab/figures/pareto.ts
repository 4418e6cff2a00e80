import { type Figure, colour, layout } from './figure.js';

/** One setting: a point in two metrics. */
export interface ParetoPoint {
  label: string;
  x: number;
  y: number;
}

/** Two metrics against each other, a point a setting. Points that no other beats in both are joined: the front. */
export function pareto(title: string, x: string, y: string, points: readonly ParetoPoint[], { xHigherIsBetter = false, yHigherIsBetter = true } = {}): Figure {
  const front = paretoFront(points, { xHigherIsBetter, yHigherIsBetter });
  const ordered = [...front].sort((a, b) => a.x - b.x);
  const data: Figure['data'] = [
    {
      type: 'scatter', mode: 'text+markers', name: 'settings', x: points.map((point) => point.x), y: points.map((point) => point.y), text: points.map(({ label }) => label),
      textposition: 'top center', marker: { color: points.map((point) => (front.includes(point) ? colour(0) : '#999999')), size: 8 },
    },
    { type: 'scatter', mode: 'lines', name: 'front', x: ordered.map((point) => point.x), y: ordered.map((point) => point.y), line: { color: colour(0), width: 1, dash: 'dot' }, hoverinfo: 'skip' },
  ];
  return { data, layout: layout(title, `${x} (${xHigherIsBetter ? 'higher' : 'lower'} is better)`, `${y} (${yHigherIsBetter ? 'higher' : 'lower'} is better)`, { showlegend: false }) };
}

/** The points that no other point beats in one metric without losing in the other. */
export function paretoFront<Point extends Pick<ParetoPoint, 'x' | 'y'>>(points: readonly Point[], { xHigherIsBetter = false, yHigherIsBetter = true } = {}): Point[] {
  const gain = ({ x, y }: Point) => [xHigherIsBetter ? x : -x, yHigherIsBetter ? y : -y];
  return points.filter((point) => {
    const [px, py] = gain(point);
    return !points.some((other) => {
      const [ox, oy] = gain(other);
      return ox >= px && oy >= py && (ox > px || oy > py);
    });
  });
}
