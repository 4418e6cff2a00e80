import { plain, type Figure } from '../static-figure.js';
import { figureBundle, plotlyType } from './figure.js';
import { newDisplayId, publishBundle } from './display.js';

/** A chart that grows while a cell runs. */
export interface LiveChart {
  /** Adds a point to the line called `name`, a new one if there is none. Drawn a few times a second at most. */
  add(name: string, x: number, y: number): void;
  /** Draws the last state, with a static picture for readers without scripts. Call it when the data is complete. */
  finish(): Promise<void>;
}

interface Line {
  type: 'scatter';
  mode: 'lines';
  name: string;
  x: number[];
  y: number[];
}

const interval = 250; // milliseconds between two drawings

/** Shows an empty line chart to be filled: `const chart = liveChart({ title: { text: 'loss' } }); chart.add('lm', step, loss)`. */
export function liveChart(layout: object = {}): LiveChart {
  const id = newDisplayId();
  const lines = new Map<string, Line>();
  const figure = (): Figure => plain({ data: [...lines.values()], layout });
  let drawnAt = -Infinity;
  const draw = (type = 'update_display_data') => {
    drawnAt = performance.now();
    const { data } = figure();
    publishBundle(type, { [plotlyType]: { data, layout }, 'text/plain': summary(lines) }, id);
  };
  draw('display_data');
  return {
    add(name, x, y) {
      let line = lines.get(name);
      if (!line) lines.set(name, (line = { type: 'scatter', mode: 'lines', name, x: [], y: [] }));
      line.x.push(x);
      line.y.push(y);
      if (performance.now() - drawnAt >= interval) draw();
    },
    async finish() {
      publishBundle('update_display_data', { ...(await figureBundle(figure())), 'text/plain': summary(lines) }, id);
    },
  };
}

function summary(lines: ReadonlyMap<string, Line>): string {
  return [...lines.values()].map(({ name, x, y }) => `${name}: ${y.at(-1)} at ${x.at(-1)}`).join('\n') || 'empty chart';
}
