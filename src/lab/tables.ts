/** Tables that set the paper's numbers and this project's side by side, never in one column. */

/** What a comparison says about one row. */
export type CellState = 'reference row' | 'reproduced trend' | 'within noise' | 'contrary' | 'not run' | 'paper value missing' | 'level only, no trend' | 'setting, not a result';

/** A number of this project with what it takes to believe it. */
export interface Measured {
  mean: number;
  /** Half-width or bounds of the 95 % interval. */
  ci?: readonly [number, number];
  /** How many seeds (or samples) the mean is over, and over what the interval is taken. */
  n: number;
  over: string;
  /** Short name of the protocol; its full form is a footnote of the table. */
  protocol: string;
}

export interface TableRow {
  label: string;
  metric: string;
  paper?: { value: string; confidence: string };
  project?: Measured;
  state: CellState;
}

export interface PaperComparison {
  title: string;
  /** Size of the models behind either column: they are never the same. */
  paperModel: string;
  projectModel: string;
  rows: readonly TableRow[];
  notes: readonly string[];
}

const header = ({ paperModel, projectModel }: PaperComparison) => ['', 'metric', `paper (${paperModel})`, `here (${projectModel})`, 'n', 'protocol', 'state'];

function cells({ label, metric, paper, project, state }: TableRow): string[] {
  return [
    label,
    metric,
    paper ? `${paper.value}${paper.confidence === 'high' ? '' : ` (${paper.confidence} confidence)`}` : '–',
    project ? formatMeasured(project) : '–',
    project ? `${project.n} ${project.over}` : '–',
    project?.protocol ?? '–',
    state,
  ];
}

/** `0.412 [0.380, 0.444]`: three significant digits and the 95 % interval. */
export function formatMeasured({ mean, ci }: Pick<Measured, 'mean' | 'ci'>): string {
  return ci ? `${digits(mean)} [${digits(ci[0])}, ${digits(ci[1])}]` : digits(mean);
}

export function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
  return Math.abs(value) >= 100 ? value.toFixed(1) : value.toFixed(3);
}

export function toMarkdown(table: PaperComparison): string {
  const escape = (text: string) => text.replaceAll('|', '\\|');
  const line = (row: readonly string[]) => `| ${row.map(escape).join(' | ')} |`;
  const head = header(table);
  return [`**${table.title}**`, '', line(head), line(head.map(() => '---')), ...table.rows.map((row) => line(cells(row))), '', ...table.notes.map((note) => `- ${note}`)].join('\n');
}

export function toLatex(table: PaperComparison): string {
  const escape = (text: string) => text.replace(/[&%$#_{}]/g, '\\$&').replaceAll('–', '--').replaceAll('^', '\\^{}').replaceAll('±', '$\\pm$');
  const line = (row: readonly string[]) => `${row.map(escape).join(' & ')} \\\\`;
  return [
    '\\begin{table}',
    `\\caption{${escape(table.title)}}`,
    '\\begin{tabular}{llrrrll}',
    '\\toprule',
    line(header(table)),
    '\\midrule',
    ...table.rows.map((row) => line(cells(row))),
    '\\bottomrule',
    '\\end{tabular}',
    ...table.notes.map((note) => `% ${note}`),
    '\\end{table}',
  ].join('\n');
}

export function toHtml(table: PaperComparison): string {
  const row = (tag: string, texts: readonly string[]) => `<tr>${texts.map((text) => `<${tag}>${escapeHtml(text)}</${tag}>`).join('')}</tr>`;
  return [
    '<table class="paper">',
    `<caption>${escapeHtml(table.title)}</caption>`,
    `<thead>${row('th', header(table))}</thead>`,
    `<tbody>${table.rows.map((r) => row('td', cells(r)).replace('<tr>', `<tr class="${r.state.replaceAll(' ', '-')}">`)).join('\n')}</tbody>`,
    '</table>',
    table.notes.length ? `<ul class="notes">${table.notes.map((note) => `<li>${escapeHtml(note)}</li>`).join('')}</ul>` : '',
  ].join('\n');
}

export const escapeHtml = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
