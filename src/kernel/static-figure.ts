import { type Worker } from 'node:worker_threads';
import { type Figure } from './figures/plotly.js';
import { type FigureReply, type FigureRequest } from './figures/worker.js';
import { startWorker } from './start-worker.js';

export type { Figure };

export interface FigureOptions {
  /** Size in CSS pixels; what the figure's layout says otherwise, or 800 by 450. */
  width?: number;
  height?: number;
  /** Pixels per CSS pixel of a PNG. 2 by default. */
  scale?: number;
  /** Milliseconds for this figure, loading plotly.js included. 60 000 by default. */
  timeout?: number;
}

interface Job {
  resolve(image: string | Uint8Array): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout;
}

/** Traces that Plotly draws with WebGL, or with map tiles. */
const webglTypes = new Set(
  ['scatter3d', 'surface', 'mesh3d', 'cone', 'streamtube', 'volume', 'isosurface', 'scattergl', 'scatterpolargl', 'splom', 'parcoords'].concat(
    ['scattermap', 'choroplethmap', 'densitymap', 'scattermapbox', 'choroplethmapbox', 'densitymapbox'],
  ),
);

/** One worker draws all figures of a process. It is started by the first and does not keep the process alive when idle. */
let worker: Worker | undefined;
let lastId = 0;
const jobs = new Map<number, Job>();

/**
 * Draws a Plotly figure without a browser: SVG as text, PNG as bytes. Rejects when Plotly does, and when the time is up,
 * as happens for WebGL traces such as `scatter3d` that cannot be drawn without a graphics context.
 */
export function renderFigure(figure: Figure, options: FigureOptions & { format: 'svg' }): Promise<string>;
export function renderFigure(figure: Figure, options: FigureOptions & { format: 'png' }): Promise<Buffer>;
export async function renderFigure(figure: Figure, options: FigureOptions & { format: 'svg' | 'png' }): Promise<string | Buffer> {
  if (!Array.isArray(figure.data)) throw new Error('A Plotly figure is { data: [trace, …], layout }; "data" is not an array.');
  const beyond = figure.data.map((trace) => (trace as { type?: string }).type ?? 'scatter').find((type) => webglTypes.has(type));
  if (beyond) {
    throw new Error(`Trace type "${beyond}" needs WebGL and cannot be drawn without a browser. Use a two-dimensional trace, or view the figure interactively.`);
  }

  const layout = (figure.layout ?? {}) as { width?: number; height?: number };
  const { format, width = layout.width ?? 800, height = layout.height ?? 450, scale = 2, timeout = 60_000 } = options;
  const image = await request({ id: ++lastId, figure: plain(figure), format, width, height, scale }, timeout);
  return typeof image === 'string' ? image : Buffer.from(image.buffer, image.byteOffset, image.byteLength);
}

/** Ends the drawing worker, for programs that want to exit cleanly at a known time. The next figure starts a new one. */
export async function stopDrawing(): Promise<void> {
  const running = worker;
  worker = undefined;
  await running?.terminate();
}

function request(message: FigureRequest, timeout: number): Promise<string | Uint8Array> {
  return new Promise((resolve, reject) => {
    const drawing = (worker ??= startDrawing());
    const timer = setTimeout(() => {
      // A figure that never ends blocks the worker's thread, so the thread goes and takes its queue with it.
      void stopDrawing();
      failAll(new Error(`Drawing the figure took more than ${timeout} ms.`));
    }, timeout);
    jobs.set(message.id, { resolve, reject, timer });
    drawing.ref();
    drawing.postMessage(message);
  });
}

function startDrawing(): Worker {
  const started = startWorker(import.meta.url, './figures/worker');
  started.on('message', (reply: FigureReply) => {
    const job = jobs.get(reply.id);
    if (!job) return;
    jobs.delete(reply.id);
    clearTimeout(job.timer);
    if (jobs.size === 0) started.unref();
    if ('error' in reply) job.reject(new Error(`Plotly could not draw the figure: ${reply.error}`));
    else job.resolve(reply.image);
  });
  started.on('error', (error) => {
    if (worker === started) worker = undefined;
    failAll(new Error(`The drawing worker failed: ${error.message}`));
  });
  return started;
}

function failAll(error: Error): void {
  for (const { reject, timer } of jobs.values()) {
    clearTimeout(timer);
    reject(error);
  }
  jobs.clear();
}

/** Figures may hold typed arrays, dates and functions; Plotly's own JSON has arrays, strings and none. */
export function plain(figure: Figure): Figure {
  const asArray = (_key: string, value: unknown) => (ArrayBuffer.isView(value) ? Array.from(value as unknown as ArrayLike<number>) : value);
  return JSON.parse(JSON.stringify(figure, asArray)) as Figure;
}
