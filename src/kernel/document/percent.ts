import { displayName, kernelName } from '../kernel-command.js';
import { asLines, emptyNotebook, isCode, newId, sourceOf, type Cell, type CellMetadata, type Notebook } from './notebook.js';

/**
 * The percent format of jupytext (https://jupytext.readthedocs.io/en/latest/formats-scripts.html): a script whose cells
 * begin with `// %%`, markdown in comments. It is reviewed and type-checked like any source; the notebook is made from it.
 */
const marker = /^\/\/ %%(?:$|\s(.*)$)/;

const header = `// ---
// jupyter:
//   jupytext:
//     text_representation:
//       extension: .ts
//       format_name: percent
//   kernelspec:
//     display_name: ${displayName}
//     language: typescript
//     name: ${kernelName}
// ---
`;

/** Reads a percent-format script. `previous`: the notebook it was made into before, whose ids and outputs of unchanged cells are kept. */
export function fromPercent(text: string, previous?: Notebook): Notebook {
  const lines = withoutHeader(text).replaceAll('\r\n', '\n').split('\n');
  const drafts: { heading: string; lines: string[] }[] = [];
  for (const line of lines) {
    const heading = marker.exec(line);
    if (heading) drafts.push({ heading: heading[1] ?? '', lines: [] });
    else if (drafts.length > 0) drafts.at(-1)?.lines.push(line);
    else if (line.trim() !== '') drafts.push({ heading: '', lines: [line] }); // code before the first marker is a cell too
  }
  const notebook = emptyNotebook(identified(drafts.map(({ heading, lines }) => parseCell(heading, trimmed(lines))), previous?.cells ?? []));
  if (previous) notebook.metadata = { ...previous.metadata, ...notebook.metadata };
  return notebook;
}

/** Writes a notebook as a percent-format script. Outputs stay behind. */
export function toPercent(notebook: Notebook): string {
  const cells = notebook.cells.map((cell) => {
    const { dreamllm: _ran, ...metadata } = cell.metadata;
    const kind = cell.cell_type === 'code' ? '' : ` [${cell.cell_type}]`;
    const options = Object.entries(metadata).map(([key, value]) => ` ${key}=${JSON.stringify(value)}`);
    const source = sourceOf(cell);
    const body = isCode(cell) ? source : source.split('\n').map((line) => (line === '' ? '//' : `// ${line}`)).join('\n');
    return `// %%${kind}${options.join('')}\n${body}\n`;
  });
  return `${header}\n${cells.join('\n')}`;
}

function withoutHeader(text: string): string {
  return text.replace(/^\/\/ ---\r?\n(?:\/\/.*\r?\n)*?\/\/ ---\r?\n/, '');
}

type Draft = Pick<Cell, 'cell_type' | 'metadata'> & { source: string };

function parseCell(heading: string, lines: string[]): Draft {
  const cell_type = (/\[(markdown|md|raw)\]/.exec(heading)?.[1] ?? 'code').replace(/^md$/, 'markdown') as Cell['cell_type'];
  const metadata: CellMetadata = {};
  for (const [, key, value] of heading.matchAll(/([\w.-]+)=(\[[^\]]*\]|\{.*?\}|"(?:[^"\\]|\\.)*"|[^\s]+)/g)) metadata[key] = readValue(value);
  if (cell_type === 'code') return { cell_type, metadata, source: lines.join('\n') };
  return { cell_type, metadata, source: lines.map((line) => line.replace(/^\/\/ ?/, '')).join('\n') };
}

function readValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Without the empty lines that separate cells. */
function trimmed(lines: string[]): string[] {
  let [start, end] = [0, lines.length];
  while (start < end && lines[start].trim() === '') start++;
  while (end > start && lines[end - 1].trim() === '') end--;
  return lines.slice(start, end);
}

/** Gives cells the ids they had: by equal source first, then by what stands at the same place between two such cells. */
function identified(drafts: Draft[], previous: Cell[]): Cell[] {
  const matches = new Map<number, Cell>();
  const free = new Set(previous);
  drafts.forEach((draft, i) => {
    const same = [...free].find((cell) => cell.cell_type === draft.cell_type && sourceOf(cell) === draft.source);
    if (same) {
      free.delete(same);
      matches.set(i, same);
    }
  });
  // Injected parameters belong to a run, not to the notebook.
  drafts.forEach((draft, i) => {
    const place = previous[previous.indexOf(matches.get(i - 1) as Cell) + 1];
    if (!matches.has(i) && place && free.has(place) && place.cell_type === draft.cell_type && (i === 0 || matches.has(i - 1))) {
      free.delete(place);
      matches.set(i, place);
    }
  });
  const taken = new Set([...matches.values()].map(({ id }) => id));
  return drafts.map((draft, i) => {
    const before = matches.get(i);
    const { cell_type, source } = draft;
    const ran = before?.metadata.dreamllm;
    const metadata = ran === undefined ? draft.metadata : { ...draft.metadata, dreamllm: ran };
    const base = { id: before?.id ?? newId(`${cell_type} ${source}`, taken), metadata, source: asLines(source) };
    if (cell_type !== 'code') return { cell_type, ...base };
    const kept = before && isCode(before) && sourceOf(before) === source ? before : undefined;
    return { cell_type, ...base, outputs: kept?.outputs ?? [], execution_count: kept?.execution_count ?? null };
  });
}
