import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Figure } from './figures/figure.js';
import { escapeHtml } from './tables.js';

/** One self-contained HTML page: no network, plotly.js embedded once. */
export interface Page {
  title: string;
  sections: readonly Section[];
}

export interface Section {
  title: string;
  blocks: readonly Block[];
}

export type Block =
  | { kind: 'text'; text: string }
  | { kind: 'html'; html: string }
  | { kind: 'figure'; figure: Figure; height?: number }
  | { kind: 'picture'; png: Uint8Array; caption: string; width?: number };

export function renderPage({ title, sections }: Page): string {
  let figures = 0;
  const block = (b: Block): string => {
    switch (b.kind) {
      case 'text':
        return b.text
          .split('\n\n')
          .map((paragraph) => `<p>${escapeHtml(paragraph)}</p>`)
          .join('\n');
      case 'html':
        return b.html;
      case 'picture':
        return `<figure><img src="data:image/png;base64,${Buffer.from(b.png).toString('base64')}" alt="${escapeHtml(b.caption)}"${b.width ? ` width="${b.width}"` : ''}><figcaption>${escapeHtml(b.caption)}</figcaption></figure>`;
      case 'figure': {
        const id = `figure-${++figures}`;
        // "</" would end the script element early.
        const json = JSON.stringify(b.figure).replaceAll('</', '<\\/');
        return `<div id="${id}" style="height:${b.height ?? 380}px"></div><script>Plotly.newPlot(${JSON.stringify(id)}, ...(({data, layout}) => [data, layout, {responsive: true, displaylogo: false}])(${json}));</script>`;
      }
    }
  };
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${escapeHtml(title)}</title>
<style>${css}</style>
<script>${plotlySource()}</script>
<main>
<h1>${escapeHtml(title)}</h1>
<nav>${sections.map((section, i) => `<a href="#s${i}">${escapeHtml(section.title)}</a>`).join(' ')}</nav>
${sections.map((section, i) => `<section id="s${i}"><h2>${escapeHtml(section.title)}</h2>\n${section.blocks.map(block).join('\n')}</section>`).join('\n')}
</main>
</html>
`;
}

function plotlySource(): string {
  const path = createRequire(import.meta.url).resolve('plotly.js/dist/plotly.min.js');
  return readFileSync(path, 'utf8').replaceAll('</script', '<\\/script');
}

const css = `
body { margin: 0; font: 15px/1.5 Helvetica, Arial, sans-serif; color: #222; background: #fff }
main { max-width: 1000px; margin: 0 auto; padding: 24px }
nav a { margin-right: 14px }
a { color: #0072B2 }
figure { margin: 16px 0 } figcaption { color: #555; font-size: 13px }
img { image-rendering: pixelated; max-width: 100% }
table { border-collapse: collapse; margin: 12px 0; font-size: 13px } caption { text-align: left; font-weight: bold; padding: 4px 0 }
th, td { border-bottom: 1px solid #ddd; padding: 4px 10px; text-align: left; vertical-align: top }
.notes { color: #555; font-size: 13px }
pre { background: #f6f6f6; padding: 10px; overflow-x: auto }
`;
