import { escapeHtml } from './html.js';
import { type Bundle } from './bundle.js';

/** A table reduced to what is shown. */
export interface Table {
  columns: string[];
  /** Row labels, if they say more than the position. */
  index?: string[];
  rows: unknown[][];
  /** Rows in all; `rows` holds the first of them. */
  total: number;
}

const shownRows = 30;

/** Recognizes tables of arquero and of danfojs by their shape, so that neither has to be loaded. */
export function asTable(value: object): Table | undefined {
  const arquero = value as { columnNames?(): string[]; numRows?(): number; objects?(options: object): Record<string, unknown>[] };
  if (typeof arquero.columnNames === 'function' && typeof arquero.numRows === 'function' && typeof arquero.objects === 'function') {
    const columns = arquero.columnNames();
    return { columns, rows: arquero.objects({ limit: shownRows }).map((row) => columns.map((column) => row[column])), total: arquero.numRows() };
  }
  const danfo = value as { columns?: unknown; index?: unknown; values?: unknown; dtypes?: unknown; shape?: unknown };
  if (Array.isArray(danfo.columns) && Array.isArray(danfo.values) && Array.isArray(danfo.index) && Array.isArray(danfo.dtypes) && Array.isArray(danfo.shape)) {
    const isSeries = danfo.shape.length === 1;
    const rows = danfo.values.slice(0, shownRows).map((row: unknown) => (isSeries || !Array.isArray(row) ? [row] : row));
    const counted = danfo.index.every((label, i) => label === i);
    return { columns: danfo.columns.map(String), rows, total: danfo.values.length, ...(counted ? {} : { index: danfo.index.slice(0, shownRows).map(String) }) };
  }
  return undefined;
}

/** A table as HTML and as aligned text. */
export function tableBundle({ columns, index, rows, total }: Table): Bundle {
  const numeric = columns.map((_, c) => rows.every((row) => isNumber(row[c])));
  const header = index ? ['', ...columns] : columns;
  const body = rows.map((row, r) => [...(index ? [index[r] ?? ''] : []), ...columns.map((_, c) => format(row[c]))]);
  const isNumeric = (c: number) => numeric[index ? c - 1 : c] === true;
  const rest = total > rows.length ? `${total} rows, ${rows.length} shown` : '';

  const cells = (tag: string, row: string[]) => row.map((cell, c) => `<${tag}${isNumeric(c) ? ' style="text-align:right"' : ''}>${escapeHtml(cell)}</${tag}>`).join('');
  const html = `<table>\n<thead><tr>${cells('th', header)}</tr></thead>\n<tbody>\n${body.map((row) => `<tr>${cells('td', row)}</tr>`).join('\n')}\n</tbody>\n</table>${rest ? `\n<p>${rest}</p>` : ''}`;

  const widths = header.map((name, c) => Math.max(name.length, ...body.map((row) => row[c].length)));
  const line = (row: string[]) => row.map((cell, c) => (isNumeric(c) ? cell.padStart(widths[c]) : cell.padEnd(widths[c]))).join('  ').trimEnd();
  const text = [line(header), ...body.map(line), ...(rest ? [rest] : [])].join('\n');
  return { 'text/html': html, 'text/plain': text };
}

/** Numbers, numbers that a file gave as text, and gaps between them. */
function isNumber(value: unknown): boolean {
  return value === null || value === undefined || typeof value === 'number' || (typeof value === 'string' && /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(value));
}

function format(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
  if (value instanceof Date) return value.toISOString();
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
