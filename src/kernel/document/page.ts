import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { marked } from 'marked';
import { plotlyType } from '../display/figure.js';
import { escapeHtml } from '../display/html.js';
import { highlight } from '../language/highlight.js';
import { staleCells } from './freshness.js';
import { isCode, sourceOf, type Cell, type CodeCell, type Notebook, type Output } from './notebook.js';

/** A notebook as one HTML page that needs nothing else: figures are interactive, plotly.js is in it once, and only if used. */
export function toHtml(notebook: Notebook, title: string): string {
  const stale = staleCells(notebook);
  const cells = notebook.cells.map((cell) => cellHtml(cell, isCode(cell) ? stale.get(cell) : undefined));
  const types = notebook.cells.filter(isCode).flatMap(({ outputs }) => outputs).flatMap(traceTypes);
  const body = cells.join('\n');
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
${types.length > 0 ? `<script>${plotlySource(types)}</script>` : ''}
</head>
<body>
<main>
${body}
</main>
${types.length > 0 ? `<script>${drawFigures}</script>` : ''}
</body>
</html>
`;
}

function cellHtml(cell: Cell, staleness: string | undefined): string {
  if (!isCode(cell)) {
    if (cell.cell_type === 'raw') return '';
    return `<section class="markdown">\n${marked.parse(withAttachments(cell), { async: false })}</section>`;
  }
  const count = cell.execution_count === null ? ' ' : String(cell.execution_count);
  const mark = staleness === undefined ? '' : `<p class="stale">Stale: ${escapeHtml(staleness)}.</p>\n`;
  const outputs = cell.outputs.map(outputHtml).join('\n');
  return `<section class="code" id="${escapeHtml(cell.id)}">\n<pre class="source" data-count="${count}"><code>${highlight(sourceOf(cell))}</code></pre>\n${mark}${outputs}\n</section>`;
}

/** Pictures that a front end stored in a markdown cell, as links the page understands. */
function withAttachments(cell: Exclude<Cell, CodeCell>): string {
  const attachments = (cell.attachments ?? {}) as Record<string, Record<string, unknown>>;
  return sourceOf(cell).replace(/attachment:([^)\s"]+)/g, (link, name: string) => {
    const [type, data] = Object.entries(attachments[name] ?? {})[0] ?? [];
    return type ? `data:${type};base64,${textOf(data)}` : link;
  });
}

const textOf = (value: unknown): string => (Array.isArray(value) ? value.join('') : String(value));

function outputHtml(output: Output): string {
  if (output.output_type === 'stream') return `<pre class="${escapeHtml(output.name)}">${ansiHtml(textOf(output.text))}</pre>`;
  if (output.output_type === 'error') return `<pre class="error">${ansiHtml(output.traceback.join('\n'))}</pre>`;
  const { data } = output;
  if (data[plotlyType]) {
    const picture = data['image/png'] ? `<noscript><img alt="${escapeHtml(textOf(data['text/plain'] ?? 'figure'))}" src="data:image/png;base64,${textOf(data['image/png']).trim()}"></noscript>` : '';
    return `<div class="figure"><script type="application/json">${JSON.stringify(data[plotlyType]).replaceAll('<', '\\u003c')}</script>${picture}</div>`;
  }
  for (const type of ['text/html', 'image/svg+xml']) if (data[type]) return `<div class="rich">${textOf(data[type])}</div>`;
  for (const type of ['image/png', 'image/jpeg', 'image/gif', 'image/webp']) {
    if (data[type]) return `<img alt="${escapeHtml(textOf(data['text/plain'] ?? 'picture'))}" src="data:${type};base64,${textOf(data[type]).trim()}">`;
  }
  if (data['text/markdown']) return `<div class="rich">${marked.parse(textOf(data['text/markdown']), { async: false })}</div>`;
  return `<pre>${ansiHtml(textOf(data['text/latex'] ?? data['text/plain'] ?? ''))}</pre>`;
}

/** Text with terminal colours. Of those, red and dim are used in errors; others are left out. */
function ansiHtml(text: string): string {
  const classes: Record<string, string> = { 31: 'red', 2: 'dim' };
  let open = 0;
  const html = escapeHtml(text).replace(/\u001b\[([\d;]*)m/g, (_, code: string) => {
    if (classes[code]) return (open++, `<span class="${classes[code]}">`);
    return open > 0 ? (open--, '</span>') : '';
  });
  return html + '</span>'.repeat(open);
}

function traceTypes(output: Output): string[] {
  const figure = 'data' in output ? (output.data[plotlyType] as { data: { type?: string }[] } | undefined) : undefined;
  return figure ? ['scatter', ...figure.data.map(({ type = 'scatter' }) => type)] : [];
}

/** Trace types of plotly's cartesian build, which is a third of the whole. */
const cartesian = new Set(['scatter', 'bar', 'box', 'contour', 'heatmap', 'histogram', 'histogram2d', 'histogram2dcontour', 'image', 'pie', 'violin']);

function plotlySource(types: string[]): string {
  const build = types.every((type) => cartesian.has(type)) ? 'plotly-cartesian' : 'plotly';
  const source = readFileSync(createRequire(import.meta.url).resolve(`plotly.js/dist/${build}.min.js`), 'utf8');
  return source.replaceAll('</script', '<\\/script');
}

const drawFigures = `
for (const place of document.querySelectorAll('.figure')) {
  const { data, layout, frames } = JSON.parse(place.querySelector('script').textContent);
  Plotly.newPlot(place, { data, layout, frames, config: { responsive: true, displaylogo: false } });
}
`;

const style = `
body { font: 16px/1.6 system-ui, sans-serif; color: #1c1e21; background: #fff; margin: 0; }
main { max-width: 56rem; margin: 0 auto; padding: 2rem 1rem 6rem; }
pre, code { font: 13px/1.5 ui-monospace, Menlo, Consolas, monospace; }
pre { overflow-x: auto; margin: .4rem 0; padding: .5rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
section.code { margin: 1.2rem 0; }
.source { position: relative; background: #f6f7f9; border-left: 3px solid #c9d1db; }
.source::before { content: '[' attr(data-count) ']'; position: absolute; right: .6rem; color: #8a94a3; }
.markdown code { background: #f0f1f4; padding: .1em .3em; border-radius: 3px; }
.markdown pre code { background: none; padding: 0; }
.k { color: #8250df; } .s { color: #0a5c36; } .n { color: #0550ae; } .c { color: #6a737d; font-style: italic; }
.stdout, .stderr { max-height: 30em; overflow-y: auto; } .stderr { background: #fff6e5; } .error { background: #fff0f0; } .red { color: #b31d28; } .dim { color: #6a737d; }
.stale { color: #8a5300; background: #fff6e5; margin: .4rem 0; padding: .2rem .8rem; font-size: 14px; }
table { border-collapse: collapse; margin: .5rem 0; font-size: 14px; } th, td { padding: .2rem .7rem; border-bottom: 1px solid #dde1e6; }
caption { text-align: left; font-weight: 600; padding: .2rem .7rem; }
img, .rich svg { max-width: 100%; } .figure { min-height: 300px; }
`;
