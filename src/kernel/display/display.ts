import { bundleOf, displayHook, type Bundle } from './bundle.js';
import { escapeHtml } from './html.js';
import { kernelHooks } from './hooks.js';

/** Something shown in the notebook that can be changed where it stands. */
export interface Display {
  update(value: unknown): Promise<void>;
}

/** Text in one markup language, shown as such when it is a cell's last value or given to `display`. */
export interface Markup {
  readonly text: string;
  [displayHook](): Bundle;
}

let lastDisplay = 0;

/** Shows any value: markup, figures, tables, tensors, pictures, objects with a `Symbol.for('Jupyter.display')` method. */
export async function display(value: unknown): Promise<Display> {
  const id = `display-${++lastDisplay}`;
  await publish('display_data', value, id);
  return { update: (next) => publish('update_display_data', next, id) };
}

async function publish(type: string, value: unknown, id: string): Promise<void> {
  const data = (await bundleOf(value)) ?? { 'text/plain': 'undefined' };
  publishBundle(type, data, id);
}

/** Shows ready representations at once, also in the middle of a synchronous loop. */
export function publishBundle(type: string, data: Bundle, id: string): void {
  const kernel = kernelHooks();
  if (kernel) kernel.publish(type, { data, metadata: {}, transient: { display_id: id } });
  else if (type === 'display_data') console.log(String(data['text/plain']));
}

export function newDisplayId(): string {
  return `display-${++lastDisplay}`;
}

/** Empties the cell's output; with `wait`, as soon as there is something new to show, which avoids flicker. */
export function clearOutput({ wait = false } = {}): void {
  kernelHooks()?.publish('clear_output', { wait });
}

function markup(type: string, text: string): Markup {
  return { text, [displayHook]: () => ({ [type]: text, 'text/plain': text }) };
}

type Tag = (strings: TemplateStringsArray | string, ...values: unknown[]) => Markup;

/** A tag for template literals; called with a string, it takes the string as it is. */
function tag(type: string, insert: (value: unknown) => string = String): Tag {
  return (strings, ...values) =>
    markup(type, typeof strings === 'string' ? strings : strings.reduce((text, part, i) => text + insert(values[i - 1]) + part));
}

const isMarkup = (value: unknown): value is Markup => typeof value === 'object' && value !== null && displayHook in value && typeof (value as Markup).text === 'string';

/** HTML. Inserted values are escaped, but markup made by `html` or `svg` is not, and arrays are joined. */
export const html: Tag = tag('text/html', function insert(value): string {
  if (Array.isArray(value)) return value.map(insert).join('');
  return isMarkup(value) ? value.text : escapeHtml(String(value));
});
/** Markdown. */
export const md: Tag = tag('text/markdown', (value) => (isMarkup(value) ? value.text : String(value)));
/** A drawing in SVG. */
export const svg: Tag = tag('image/svg+xml', (value) => (isMarkup(value) ? value.text : String(value)));
/** Mathematics in LaTeX, with its delimiters. */
export const latex: Tag = (strings, ...values) => markup('text/latex', typeof strings === 'string' ? strings : String.raw(strings, ...values));
