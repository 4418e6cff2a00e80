import { newDisplayId, publishBundle } from './display.js';
import { escapeHtml } from './html.js';

export interface ProgressOptions {
  label?: string;
  /** Total, where it is not the length of what is iterated. */
  total?: number;
}

/** A bar that is redrawn in place. */
export interface Progress {
  /** Sets how much is done, and words beside the bar such as the current loss. */
  update(done: number, note?: string): void;
  /** Fills the bar. */
  finish(note?: string): void;
}

const interval = 50; // milliseconds between two drawings

/**
 * A progress bar: `progress(100, { label })` to be updated by hand, or around something to iterate, as in
 * `for (const batch of progress(batches))`. It shows counts, not times, so that a notebook's output stays the same.
 */
export function progress(total: number, options?: ProgressOptions): Progress;
export function progress<T>(items: Iterable<T>, options?: ProgressOptions): Iterable<T>;
export function progress<T>(over: number | Iterable<T>, options: ProgressOptions = {}): Progress | Iterable<T> {
  if (typeof over === 'number') return bar(over, options.label);
  const { length, size } = over as { length?: number; size?: number };
  return walk(over, bar(options.total ?? length ?? size, options.label));
}

function* walk<T>(items: Iterable<T>, shown: Progress): Generator<T> {
  let done = 0;
  for (const item of items) {
    yield item;
    shown.update(++done);
  }
  shown.finish();
}

function bar(total: number | undefined, label = ''): Progress {
  const id = newDisplayId();
  let [done, note, drawnAt] = [0, '', 0];
  const draw = (type = 'update_display_data') => {
    drawnAt = performance.now();
    const count = total === undefined ? String(done) : `${done}/${total}`;
    const words = [label, count, note].filter(Boolean).join('  ');
    const element = `<progress value="${done}" max="${total ?? done}" style="width:16em;vertical-align:middle"></progress>`;
    publishBundle(type, { 'text/html': `${element} ${escapeHtml(words)}`, 'text/plain': words }, id);
  };
  draw('display_data');
  return {
    update(now, words = note) {
      [done, note] = [now, words];
      if (performance.now() - drawnAt >= interval || done === total) draw();
    },
    finish(words = note) {
      [done, note] = [total ?? done, words];
      draw();
    },
  };
}
